//! SQL text: where its placeholders are, and how each database wants them.

/// A place in SQL text that is code, not a literal or comment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Placeholder {
    start: usize,
    end: usize,
    number: usize,
}

/// Placeholders `$1`, `$2`, … outside of literals, quoted names and comments.
fn placeholders(sql: &str) -> Vec<Placeholder> {
    let bytes = sql.as_bytes();
    let mut found = Vec::new();
    let mut at = 0;
    while at < bytes.len() {
        at = match bytes[at] {
            quote @ (b'\'' | b'"') => skip_quoted(bytes, at, quote),
            b'-' if bytes.get(at + 1) == Some(&b'-') => skip_until(sql, at + 2, "\n"),
            b'/' if bytes.get(at + 1) == Some(&b'*') => skip_until(sql, at + 2, "*/"),
            b'$' => match number_after(sql, at + 1) {
                Some((number, end)) => {
                    found.push(Placeholder { start: at, end, number });
                    end
                }
                None => skip_dollar_quoted(sql, at),
            },
            // A name may contain `$`, as in `a$1`.
            c if c.is_ascii_alphabetic() || c == b'_' || !c.is_ascii() => skip_name(bytes, at),
            _ => at + 1,
        };
    }
    found
}

fn skip_quoted(bytes: &[u8], at: usize, quote: u8) -> usize {
    bytes[at + 1..]
        .iter()
        .position(|byte| *byte == quote)
        .map_or(bytes.len(), |length| at + length + 2)
}

fn skip_until(sql: &str, at: usize, end: &str) -> usize {
    sql.get(at..)
        .and_then(|rest| rest.find(end))
        .map_or(sql.len(), |length| at + length + end.len())
}

fn skip_name(bytes: &[u8], at: usize) -> usize {
    let is_name = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(*byte, b'_' | b'$') || !byte.is_ascii();
    bytes[at..]
        .iter()
        .position(|byte| !is_name(byte))
        .map_or(bytes.len(), |length| at + length)
}

/// `$tag$ … $tag$` of PostgreSQL.
fn skip_dollar_quoted(sql: &str, at: usize) -> usize {
    let Some(length) = sql[at + 1..].find('$') else {
        return at + 1;
    };
    let tag = &sql[at..at + length + 2];
    if tag[1..tag.len() - 1].contains(|c: char| !(c.is_ascii_alphanumeric() || c == '_')) {
        return at + 1;
    }
    skip_until(sql, at + tag.len(), tag)
}

fn number_after(sql: &str, at: usize) -> Option<(usize, usize)> {
    let digits = sql[at..].bytes().take_while(u8::is_ascii_digit).count();
    // Too many digits for a number are a number that is too high.
    (digits > 0).then(|| (sql[at..at + digits].parse().unwrap_or(usize::MAX), at + digits))
}

/// How many parameters a statement takes: its highest placeholder.
///
/// # Errors
/// When a number below the highest is never used, or `$0` is.
pub(super) fn count_parameters(sql: &str) -> Result<usize, String> {
    let numbers: Vec<usize> = placeholders(sql).iter().map(|placeholder| placeholder.number).collect();
    let highest = numbers.iter().copied().max().unwrap_or(0);
    if highest > 1000 {
        return Err(format!("${highest} is too high; parameters are numbered from $1"));
    }
    if numbers.contains(&0) {
        return Err("parameters are numbered from $1".into());
    }
    match (1..=highest).find(|number| !numbers.contains(number)) {
        Some(unused) => Err(format!("uses ${highest} but not ${unused}")),
        None => Ok(highest),
    }
}

/// SQLite counts `$1` by order of appearance, `?1` by its number.
pub(super) fn for_sqlite(sql: &str) -> String {
    let mut out = sql.to_owned();
    for placeholder in placeholders(sql).iter().rev() {
        out.replace_range(placeholder.start..=placeholder.start, "?");
    }
    out
}

/// The text between placeholders and their indices from 0, for protocols without parameters.
pub fn split(sql: &str) -> (Vec<&str>, Vec<usize>) {
    let mut texts = Vec::new();
    let mut indices = Vec::new();
    let mut from = 0;
    for placeholder in placeholders(sql) {
        texts.push(&sql[from..placeholder.start]);
        indices.push(placeholder.number.saturating_sub(1));
        from = placeholder.end;
    }
    texts.push(&sql[from..]);
    (texts, indices)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn placeholders_are_counted_outside_of_literals_only() {
        assert_eq!(count_parameters("SELECT $1, $2 + $1"), Ok(2));
        assert_eq!(count_parameters("SELECT '$1', \"$2\", a$3 -- $4\n /* $5 */"), Ok(0));
        assert_eq!(count_parameters("SELECT $$ $1 $$, $x$ $2 $x$, $1"), Ok(1));
        assert_eq!(count_parameters("SELECT 'it''s $1', $1"), Ok(1));
        assert_eq!(count_parameters("SELECT é$2, größe$3, 'ä$4', $1"), Ok(1));
        assert!(
            count_parameters("SELECT $99999999999999999999999")
                .unwrap_err()
                .contains("too high")
        );
        assert!(count_parameters("SELECT $2").unwrap_err().contains("not $1"));
        assert!(count_parameters("SELECT $0").unwrap_err().contains("from $1"));
    }

    #[test]
    fn sqlite_gets_its_own_numbering() {
        assert_eq!(for_sqlite("SELECT $2, '$1', $1"), "SELECT ?2, '$1', ?1");
    }

    #[test]
    fn statements_split_at_placeholders() {
        assert_eq!(split("a $2 b $1"), (vec!["a ", " b ", ""], vec![1, 0]));
    }
}
