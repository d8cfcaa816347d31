//! Values to and from PostgreSQL: parameters as text, which the server parses
//! by the statement's own types; rows as JSON, for values that are saved or shown.

use std::error::Error;

use bytes::BytesMut;
use serde_json::Value as Json;
use tokio_postgres::types::{FromSql, Kind, Type};

use super::message::Column;
use crate::{
    target::answer,
    workload::{Value, hyphenated},
};

/// Appends a value as a parameter, in text format as `pgbench -M prepared` sends it; whether it is NULL.
pub(super) fn write_parameter(value: &Value, out: &mut BytesMut) -> Result<bool, Box<dyn Error + Sync + Send>> {
    match value {
        Value::Null => return Ok(true),
        Value::Text(text) if text.contains('\0') => {
            return Err("text with a zero byte, which PostgreSQL does not store".into());
        }
        Value::Text(text) => out.extend_from_slice(text.as_bytes()),
        value => value.write_text(out),
    }
    Ok(false)
}

/// Appends a value as an SQL literal, for the protocol that has no parameters.
///
/// Text is quoted as with `standard_conforming_strings`, the default since 9.1;
/// a backslash makes it an escape string, which means the same under both settings.
pub(super) fn write_literal(value: &Value, out: &mut String) {
    match value {
        Value::Null => out.push_str("NULL"),
        Value::Bool(_) => value.write_text(out),
        // A negative number after a minus sign would begin a comment.
        Value::Int(number) if *number >= 0 => value.write_text(out),
        Value::Int(_) | Value::Float(_) => {
            out.push('(');
            value.write_text(out);
            out.push(')');
        }
        Value::Text(text) => {
            out.push_str(if text.contains('\\') { " E'" } else { "'" });
            out.push_str(&text.replace('\0', "").replace('\\', "\\\\").replace('\'', "''"));
            out.push('\'');
        }
    }
}

/// Appends a row in the text format of COPY (PostgreSQL documentation, "COPY", "Text Format"): values
/// between tabs, backslashes before what would end a value or a row.
pub(super) fn write_copied(row: &[Value], out: &mut String) -> Result<(), &'static str> {
    for (number, value) in row.iter().enumerate() {
        if number > 0 {
            out.push('\t');
        }
        match value {
            Value::Null => out.push_str("\\N"),
            Value::Text(text) => {
                for c in text.chars() {
                    match c {
                        '\0' => return Err("text with a zero byte, which PostgreSQL does not store"),
                        '\\' => out.push_str("\\\\"),
                        '\n' => out.push_str("\\n"),
                        '\r' => out.push_str("\\r"),
                        '\t' => out.push_str("\\t"),
                        c => out.push(c),
                    }
                }
            }
            value => value.write_text(out),
        }
    }
    out.push('\n');
    Ok(())
}

/// A row with its column names: each column with its type and its value, in binary form.
pub(super) fn row_to_json<'a>(cells: impl Iterator<Item = ((&'a Column, &'a Type), Option<&'a [u8]>)>) -> answer::Row {
    cells
        .map(|((column, kind), raw)| {
            let cell = raw.and_then(|raw| Cell::from_sql(kind, raw).ok());
            (column.name.clone(), cell.map_or(Json::Null, |cell| cell.0))
        })
        .collect()
}

/// Any value in binary format, as JSON: numbers, booleans, text and arrays as
/// themselves, times as RFC 3339, what has no obvious form as `\x` and hex.
struct Cell(Json);

/// Microseconds from 1970-01-01 to 2000-01-01, where PostgreSQL counts from.
const POSTGRES_EPOCH_US: i64 = 946_684_800_000_000;

impl<'a> FromSql<'a> for Cell {
    fn from_sql(kind: &Type, raw: &'a [u8]) -> Result<Self, Box<dyn Error + Sync + Send>> {
        Ok(Self(match *kind {
            Type::BOOL => bool::from_sql(kind, raw)?.into(),
            Type::INT2 => i16::from_sql(kind, raw)?.into(),
            Type::INT4 => i32::from_sql(kind, raw)?.into(),
            Type::INT8 => i64::from_sql(kind, raw)?.into(),
            Type::OID => u32::from_sql(kind, raw)?.into(),
            Type::FLOAT4 => float(f32::from_sql(kind, raw)?.into()),
            Type::FLOAT8 => float(f64::from_sql(kind, raw)?),
            Type::JSON => serde_json::from_slice(raw)?,
            // The first byte of jsonb is its version.
            Type::JSONB => serde_json::from_slice(raw.get(1..).unwrap_or_default())?,
            Type::TIMESTAMP | Type::TIMESTAMPTZ => timestamp(i64::from_be_bytes(raw.try_into()?))?.into(),
            Type::DATE => date(i32::from_be_bytes(raw.try_into()?))?.into(),
            Type::UUID => uuid(raw).into(),
            Type::NUMERIC => numeric(raw).ok_or("not a numeric")?.into(),
            _ => match (kind.kind(), std::str::from_utf8(raw)) {
                (Kind::Array(_), _) => Vec::<Self>::from_sql(kind, raw)?
                    .into_iter()
                    .map(|cell| cell.0)
                    .collect(),
                (Kind::Enum(_), Ok(label)) => label.into(),
                (_, Ok(text)) if <&str as FromSql<'_>>::accepts(kind) => text.into(),
                _ => format!("\\x{}", hex::encode(raw)).into(),
            },
        }))
    }

    fn from_sql_null(_: &Type) -> Result<Self, Box<dyn Error + Sync + Send>> {
        Ok(Self(Json::Null))
    }

    fn accepts(_: &Type) -> bool {
        true
    }
}

/// JSON has no number for what is not finite; the text is what PostgreSQL reads back.
fn float(value: f64) -> Json {
    match value {
        f64::INFINITY => "Infinity".into(),
        f64::NEG_INFINITY => "-Infinity".into(),
        value if value.is_nan() => "NaN".into(),
        value => value.into(),
    }
}

/// Microseconds since 2000-01-01, the outermost two being infinite.
fn timestamp(microseconds: i64) -> Result<String, jiff::Error> {
    match microseconds {
        i64::MAX => Ok("infinity".into()),
        i64::MIN => Ok("-infinity".into()),
        _ => jiff::Timestamp::from_microsecond(microseconds.saturating_add(POSTGRES_EPOCH_US))
            .map(|time| time.to_string()),
    }
}

/// Days since 2000-01-01, the outermost two being infinite.
fn date(days: i32) -> Result<String, jiff::Error> {
    match days {
        i32::MAX => Ok("infinity".into()),
        i32::MIN => Ok("-infinity".into()),
        _ => {
            let days = jiff::Span::new().try_days(days)?;
            Ok(jiff::civil::date(2000, 1, 1).checked_add(days)?.to_string())
        }
    }
}

fn uuid(raw: &[u8]) -> String {
    raw.try_into()
        .map_or_else(|_| hex::encode(raw), |bytes| hyphenated(u128::from_be_bytes(bytes)))
}

/// The binary form of numeric (`numeric_send` in PostgreSQL's numeric.c): count
/// of base-10,000 digits, weight of the first, sign, decimals, the digits. As
/// text, because a JSON number would lose digits.
fn numeric(raw: &[u8]) -> Option<String> {
    let word = |at: usize| Some(i16::from_be_bytes(raw.get(at * 2..at * 2 + 2)?.try_into().ok()?));
    let (count, weight, sign, decimals) = (word(0)?, word(1)?, word(2)? as u16, word(3)?);
    let digit = |position: i16| -> Option<i16> {
        let at = weight - position;
        if (0..count).contains(&at) {
            word(4 + at as usize)
        } else {
            Some(0)
        }
    };
    let mut text = match sign {
        0x0000 => String::new(),
        0x4000 => "-".to_owned(),
        0xD000 => return Some("Infinity".to_owned()),
        0xF000 => return Some("-Infinity".to_owned()),
        _ => return Some("NaN".to_owned()),
    };
    text.push_str(&digit(weight.max(0))?.to_string());
    for position in (0..weight.max(0)).rev() {
        text.push_str(&format!("{:04}", digit(position)?));
    }
    if decimals > 0 {
        let mut fraction = String::new();
        for position in 1..=(decimals + 3) / 4 {
            fraction.push_str(&format!("{:04}", digit(-position)?));
        }
        fraction.truncate(decimals as usize);
        text.push('.');
        text.push_str(&fraction);
    }
    Some(text)
}

#[cfg(test)]
mod tests {
    use proptest::{collection::vec, prelude::*};

    use super::*;

    fn numeric_of(words: &[i16]) -> String {
        numeric(&words.iter().flat_map(|word| word.to_be_bytes()).collect::<Vec<_>>()).unwrap()
    }

    #[test]
    fn numerics_are_read_with_all_their_digits() {
        assert_eq!(numeric_of(&[2, 0, 0, 2, 12, 3400]), "12.34");
        assert_eq!(numeric_of(&[2, 1, 0x4000, 0, 1, 5]), "-10005");
        assert_eq!(numeric_of(&[1, -1, 0, 4, 25]), "0.0025");
        assert_eq!(numeric_of(&[1, 1, 0, 0, 3]), "30000");
        assert_eq!(numeric_of(&[0, 0, 0, 1]), "0.0");
    }

    #[test]
    fn what_is_not_finite_is_not_lost() {
        assert_eq!(numeric_of(&[0, 0, 0xD000_u16 as i16, 0]), "Infinity");
        assert_eq!(float(f64::NEG_INFINITY), "-Infinity");
        assert_eq!(timestamp(i64::MAX).unwrap(), "infinity");
        assert_eq!(timestamp(0).unwrap(), "2000-01-01T00:00:00Z");
        assert_eq!(date(i32::MIN).unwrap(), "-infinity");
        assert_eq!(date(-1).unwrap(), "1999-12-31");
    }

    /// What COPY reads from the text of one row.
    fn read_copied(text: &str) -> Vec<Option<String>> {
        let text = text.strip_suffix('\n').unwrap();
        assert!(!text.contains(['\n', '\r']), "{text:?}");
        let cell = |cell: &str| {
            if cell == "\\N" {
                return None;
            }
            let mut chars = cell.chars();
            let mut out = String::new();
            while let Some(c) = chars.next() {
                out.push(match (c, if c == '\\' { chars.next() } else { None }) {
                    ('\\', Some('n')) => '\n',
                    ('\\', Some('r')) => '\r',
                    ('\\', Some('t')) => '\t',
                    ('\\', Some('\\')) => '\\',
                    ('\\', other) => panic!("{other:?} after a backslash in {cell:?}"),
                    (c, _) => c,
                });
            }
            Some(out)
        };
        text.split('\t').map(cell).collect()
    }

    proptest! {
        #[test]
        fn rows_to_be_copied_come_back_as_they_were(
            cells in vec(proptest::option::of("[a\\\\\\t\\n\\rN.é\"' ]{0,12}"), 1..5),
        ) {
            let value = |cell: &Option<String>| {
                cell.as_deref().map_or(Value::Null, |text| Value::Text(text.into()))
            };
            let row: Vec<Value> = cells.iter().map(value).collect();
            let mut text = String::new();
            write_copied(&row, &mut text).unwrap();
            prop_assert_eq!(read_copied(&text), cells);
        }
    }

    #[test]
    fn rows_to_be_copied_keep_nulls_apart_from_text() {
        let mut text = String::new();
        let row = [
            Value::Null,
            Value::Text("\\N".into()),
            Value::Text("".into()),
            Value::Int(-5),
            Value::Bool(true),
        ];
        write_copied(&row, &mut text).unwrap();
        write_copied(&[Value::Text("\\.".into())], &mut text).unwrap();
        assert_eq!(text, "\\N\t\\\\N\t\t-5\ttrue\n\\\\.\n");
        assert!(write_copied(&[Value::Text("a\0b".into())], &mut text).is_err());
    }

    #[test]
    fn literals_cannot_break_out_of_their_quotes() {
        let literal = |value: Value| {
            let mut out = String::new();
            write_literal(&value, &mut out);
            out
        };
        assert_eq!(literal(Value::Text("it's".into())), "'it''s'");
        assert_eq!(literal(Value::Text("\\'; DROP".into())), " E'\\\\''; DROP'");
        assert_eq!(literal(Value::Int(-5)), "(-5)");
        assert_eq!(literal(Value::Null), "NULL");
    }
}
