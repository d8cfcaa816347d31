//! A file of SQL → its statements, each with the line where it begins.
//!
//! Knows where a statement ends and nothing of what it means: quotes, comments,
//! `$tag$`, parentheses and bodies between BEGIN and END may hold semicolons.

use super::sql::{Token, tokens};

/// SQL that is executed statement by statement, before anything is measured.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Script {
    /// Where it was read from, for messages.
    pub path: String,
    /// Its statements, in order.
    pub statements: Vec<ScriptStatement>,
}

/// A statement of a script.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ScriptStatement {
    /// The line where it begins, from 1.
    pub line: usize,
    /// Its text, without the semicolon.
    pub sql: String,
}

/// What makes a file of SQL no script.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Misfit {
    /// Its line, from 1.
    pub(super) line: usize,
    /// What is wrong there.
    pub(super) reason: String,
}

/// Splits a file at its semicolons and fills in `:scale`.
///
/// # Errors
/// What is not SQL: commands of psql, and data for COPY.
pub(super) fn parse(text: &str, scale: i64) -> Result<Vec<ScriptStatement>, Misfit> {
    let mut statements = Vec::new();
    let mut current = Statement::default();
    let mut line = 1;
    for (token, start, end) in tokens(text) {
        match token {
            Token::Space | Token::Comment if current.is_empty() => {}
            Token::Symbol(b';') if current.may_end() => statements.extend(std::mem::take(&mut current).finish()?),
            Token::Symbol(b'\\') => return Err(command_of_psql(text, start, line)),
            token => {
                let written = match token {
                    Token::Variable("scale") => &scale.to_string(),
                    _ => &text[start..end],
                };
                current.push(token, written, line);
            }
        }
        line += text[start..end].matches('\n').count();
    }
    statements.extend(current.finish()?);
    Ok(statements)
}

fn command_of_psql(text: &str, at: usize, line: usize) -> Misfit {
    let word: String = text[at..].chars().take_while(|c| !c.is_whitespace()).take(20).collect();
    Misfit {
        line,
        reason: format!("{word} is a command of psql; only SQL is understood here"),
    }
}

/// A statement as far as it was read.
#[derive(Default)]
struct Statement {
    line: usize,
    sql: String,
    /// Its words in lower case, as many as tell what it is.
    words: Vec<String>,
    parentheses: usize,
    /// How many BEGIN and CASE wait for their END.
    bodies: usize,
}

/// So many words tell what a statement is: CREATE OR REPLACE TEMP TRIGGER.
const TELLING: usize = 5;

impl Statement {
    fn is_empty(&self) -> bool {
        self.sql.is_empty()
    }

    fn may_end(&self) -> bool {
        self.parentheses == 0 && self.bodies == 0
    }

    fn push(&mut self, token: Token<'_>, written: &str, line: usize) {
        if self.is_empty() {
            self.line = line;
        }
        match token {
            Token::Symbol(b'(') => self.parentheses += 1,
            Token::Symbol(b')') => self.parentheses = self.parentheses.saturating_sub(1),
            Token::Word(word) => self.word(&word.to_ascii_lowercase()),
            _ => {}
        }
        self.sql.push_str(written);
    }

    fn word(&mut self, word: &str) {
        let creates = |what: &[&str]| {
            self.words.first().is_some_and(|first| first == "create")
                && self.words.iter().any(|word| what.contains(&word.as_str()))
        };
        match word {
            // SQL-standard bodies of PostgreSQL, and triggers of SQLite.
            "atomic" if creates(&["function", "procedure"]) && self.bodies == 0 => self.bodies = 1,
            "begin" if creates(&["trigger"]) => self.bodies += 1,
            "case" if self.bodies > 0 => self.bodies += 1,
            "end" => self.bodies = self.bodies.saturating_sub(1),
            _ => {}
        }
        if self.words.len() < TELLING {
            self.words.push(word.to_owned());
        }
    }

    fn finish(self) -> Result<Option<ScriptStatement>, Misfit> {
        let sql = self.sql.trim_end();
        let is_copy = self.words.first().is_some_and(|first| first == "copy");
        if is_copy && words(sql).any(|pair| pair == ["from".to_owned(), "stdin".to_owned()]) {
            return Err(Misfit {
                line: self.line,
                reason: "COPY … FROM STDIN has no data here; write INSERT, or INSERT … SELECT".into(),
            });
        }
        Ok((!sql.is_empty()).then(|| ScriptStatement {
            line: self.line,
            sql: sql.to_owned(),
        }))
    }
}

/// All pairs of neighbouring words, in lower case.
fn words(sql: &str) -> impl Iterator<Item = [String; 2]> {
    let all: Vec<String> = tokens(sql)
        .filter_map(|(token, ..)| match token {
            Token::Word(word) => Some(word.to_ascii_lowercase()),
            _ => None,
        })
        .collect();
    (1..all.len()).map(move |at| [all[at - 1].clone(), all[at].clone()])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn split(text: &str) -> Vec<(usize, String)> {
        let statements = parse(text, 3).unwrap();
        statements
            .into_iter()
            .map(|statement| (statement.line, statement.sql))
            .collect()
    }

    #[test]
    fn statements_end_at_semicolons_that_are_code() {
        let text =
            "-- first; really\nSELECT 1;\n\n  SELECT ';', \";\" /* ; /* ; */ ; */;\nSELECT $$;$$, $a$ ; $a$;;\n-- end";
        let found = split(text);
        assert_eq!(
            found,
            [
                (2, "SELECT 1".into()),
                (4, "SELECT ';', \";\" /* ; /* ; */ ; */".into()),
                (5, "SELECT $$;$$, $a$ ; $a$".into()),
            ]
        );
        assert_eq!(split(r"SELECT E'\';', 'a\'; SELECT 2").len(), 2);
        assert_eq!(split(" -- nothing\n ; ; "), []);
    }

    #[test]
    fn bodies_hold_semicolons() {
        let rule = "CREATE RULE r AS ON INSERT TO a DO ALSO (DELETE FROM b; DELETE FROM c)";
        let function =
            "CREATE OR REPLACE FUNCTION f() RETURNS int BEGIN ATOMIC SELECT CASE 1 WHEN 1 THEN 2 END; SELECT 3; END";
        let trigger = "CREATE TEMP TRIGGER t AFTER INSERT ON a BEGIN DELETE FROM b; DELETE FROM c; END";
        let found = split(&format!("{rule};{function};\n{trigger};BEGIN;SELECT 1;END;"));
        let texts: Vec<&str> = found.iter().map(|(_, sql)| sql.as_str()).collect();
        assert_eq!(texts, [rule, function, trigger, "BEGIN", "SELECT 1", "END"]);
    }

    #[test]
    fn the_scale_is_filled_in_where_it_is_code() {
        let found = split("SELECT 100 * :scale, ':scale', x::scale, :scaled -- :scale");
        assert_eq!(found[0].1, "SELECT 100 * 3, ':scale', x::scale, :scaled -- :scale");
    }

    #[test]
    fn what_is_not_sql_is_refused_with_its_line() {
        let refused = |text: &str| {
            let misfit = parse(text, 1).unwrap_err();
            (misfit.line, misfit.reason)
        };
        let (line, reason) = refused("SELECT '\\';\n\\copy a FROM 'x'\n");
        assert_eq!((line, reason.starts_with("\\copy is a command of psql")), (2, true));
        assert_eq!(refused("\n\nCOPY a (b)\nFROM STDIN;\n1\n\\.\n").0, 3);
    }
}
