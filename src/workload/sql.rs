//! SQL text: its tokens, where its placeholders are, and how each database wants them.

/// The smallest piece of SQL text that can be told apart without knowing the grammar.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Token<'a> {
    /// White space.
    Space,
    /// A comment of either kind.
    Comment,
    /// A literal or a quoted name.
    Quoted,
    /// `$1`.
    Placeholder(usize),
    /// `:name` of psql.
    Variable(&'a str),
    /// A key word or name.
    Word(&'a str),
    /// Any other byte.
    Symbol(u8),
}

/// The tokens of SQL text, each with the place where it starts and the one where it ends.
pub(super) fn tokens(sql: &str) -> impl Iterator<Item = (Token<'_>, usize, usize)> {
    let mut at = 0;
    std::iter::from_fn(move || {
        (at < sql.len()).then(|| {
            let start = at;
            let (token, end) = token(sql, start);
            at = end;
            (token, start, end)
        })
    })
}

fn token(sql: &str, at: usize) -> (Token<'_>, usize) {
    let bytes = sql.as_bytes();
    match bytes[at] {
        quote @ (b'\'' | b'"') => (Token::Quoted, skip_quoted(bytes, at, quote)),
        b'-' if bytes.get(at + 1) == Some(&b'-') => (Token::Comment, skip_until(sql, at + 2, "\n")),
        b'/' if bytes.get(at + 1) == Some(&b'*') => (Token::Comment, skip_comment(bytes, at)),
        b'$' => match (number_after(sql, at + 1), skip_dollar_quoted(sql, at)) {
            (Some((number, end)), _) => (Token::Placeholder(number), end),
            (None, Some(end)) => (Token::Quoted, end),
            (None, None) => (Token::Symbol(b'$'), at + 1),
        },
        // `::` is a cast.
        b':' if bytes.get(at + 1) == Some(&b':') => (Token::Symbol(b':'), at + 2),
        b':' if bytes.get(at + 1).is_some_and(starts_name) => {
            let end = skip_name(bytes, at + 1);
            (Token::Variable(&sql[at + 1..end]), end)
        }
        // In a string with a prefix E a backslash escapes the next byte.
        b'e' | b'E' if bytes.get(at + 1) == Some(&b'\'') => (Token::Quoted, skip_escaped(bytes, at + 1)),
        byte if starts_name(&byte) => {
            let end = skip_name(bytes, at);
            (Token::Word(&sql[at..end]), end)
        }
        byte if byte.is_ascii_whitespace() => (Token::Space, at + 1),
        byte => (Token::Symbol(byte), at + 1),
    }
}

/// A name may contain `$` further on, as in `a$1`.
fn starts_name(byte: &u8) -> bool {
    byte.is_ascii_alphabetic() || *byte == b'_' || !byte.is_ascii()
}

/// A place in SQL text that is code, not a literal or comment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Placeholder {
    start: usize,
    end: usize,
    number: usize,
}

/// Placeholders `$1`, `$2`, … outside of literals, quoted names and comments.
fn placeholders(sql: &str) -> Vec<Placeholder> {
    tokens(sql)
        .filter_map(|(token, start, end)| match token {
            Token::Placeholder(number) => Some(Placeholder { start, end, number }),
            _ => None,
        })
        .collect()
}

fn skip_quoted(bytes: &[u8], at: usize, quote: u8) -> usize {
    bytes[at + 1..]
        .iter()
        .position(|byte| *byte == quote)
        .map_or(bytes.len(), |length| at + length + 2)
}

/// Over `'…'` in which a backslash escapes the next byte.
fn skip_escaped(bytes: &[u8], quote: usize) -> usize {
    let mut at = quote + 1;
    while at < bytes.len() {
        match bytes[at] {
            b'\\' => at += 2,
            b'\'' => return at + 1,
            _ => at += 1,
        }
    }
    bytes.len()
}

/// Over a comment, which may hold others.
fn skip_comment(bytes: &[u8], start: usize) -> usize {
    let mut depth = 0_usize;
    let mut at = start;
    while at < bytes.len() {
        match &bytes[at..bytes.len().min(at + 2)] {
            b"/*" => (depth, at) = (depth + 1, at + 2),
            b"*/" => (depth, at) = (depth - 1, at + 2),
            _ => at += 1,
        }
        if depth == 0 {
            return at;
        }
    }
    bytes.len()
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

/// Over `$tag$ … $tag$` of PostgreSQL, if that is what stands there.
fn skip_dollar_quoted(sql: &str, at: usize) -> Option<usize> {
    let length = sql[at + 1..].find('$')?;
    let tag = &sql[at..at + length + 2];
    let named = !tag[1..tag.len() - 1].contains(|c: char| !(c.is_alphanumeric() || c == '_'));
    named.then(|| skip_until(sql, at + tag.len(), tag))
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
        assert_eq!(count_parameters(r"SELECT E'it\'s $2', 'a\', $1"), Ok(1));
        assert_eq!(count_parameters("SELECT /* a /* $2 */ $3 */ $1, x::int"), Ok(1));
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
