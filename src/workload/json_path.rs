//! The part of JSONPath (RFC 9535) that names one place: `$.items[0].id`, `$['a b']`.

use serde_json::Value as Json;

/// A compiled path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JsonPath {
    text: Box<str>,
    steps: Vec<Step>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Step {
    Key(Box<str>),
    /// From the end where negative.
    Index(i64),
}

impl JsonPath {
    /// Compiles a path.
    ///
    /// # Errors
    /// A sentence saying what is wrong with it.
    pub fn compile(text: &str) -> Result<Self, String> {
        let mut rest = text
            .trim()
            .strip_prefix('$')
            .ok_or("a JSON path starts with `$`, as in \"$.items[0].id\"")?;
        let mut steps = Vec::new();
        while !rest.is_empty() {
            let (step, remaining) = if let Some(inner) = rest.strip_prefix('[') {
                bracket(inner)?
            } else if let Some(inner) = rest.strip_prefix('.') {
                dotted(inner)?
            } else {
                return Err(format!("expected `.` or `[` before \"{rest}\""));
            };
            steps.push(step);
            rest = remaining;
        }
        Ok(Self {
            text: text.trim().into(),
            steps,
        })
    }

    /// The value at that place.
    pub fn find<'a>(&self, json: &'a Json) -> Option<&'a Json> {
        self.steps.iter().try_fold(json, |at, step| match step {
            Step::Key(key) => at.get(&**key),
            Step::Index(index) => {
                let array = at.as_array()?;
                let index = if *index < 0 {
                    array.len().checked_sub(index.unsigned_abs() as usize)?
                } else {
                    *index as usize
                };
                array.get(index)
            }
        })
    }
}

/// As it was written.
impl std::fmt::Display for JsonPath {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.text)
    }
}

fn bracket(inner: &str) -> Result<(Step, &str), String> {
    let quote = inner.chars().next().filter(|c| matches!(c, '\'' | '"'));
    if let Some(quote) = quote {
        let (key, rest) = inner[1..].split_once(quote).ok_or("a quoted key is not closed")?;
        let rest = rest.strip_prefix(']').ok_or("`]` is missing after a quoted key")?;
        return Ok((Step::Key(key.into()), rest));
    }
    let (index, rest) = inner.split_once(']').ok_or("`]` is missing")?;
    match index.trim().parse() {
        Ok(index) => Ok((Step::Index(index), rest)),
        Err(_) => Err(format!(
            "\"[{index}]\" names no single element; use a number, as in [0]"
        )),
    }
}

fn dotted(inner: &str) -> Result<(Step, &str), String> {
    let end = inner.find(['.', '[']).unwrap_or(inner.len());
    match &inner[..end] {
        "" => Err("a key is missing after `.`".into()),
        "*" => Err("`*` names many values; name one".into()),
        key => Ok((Step::Key(key.into()), &inner[end..])),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_path_finds_its_place() {
        let json = json!({"items": [{"id": 7}, {"id": 8}], "a b": true});
        let find = |path: &str| JsonPath::compile(path).unwrap().find(&json).cloned();
        assert_eq!(find("$.items[0].id"), Some(json!(7)));
        assert_eq!(find("$.items[-1].id"), Some(json!(8)));
        assert_eq!(find("$['a b']"), Some(json!(true)));
        assert_eq!(find("$.items[5].id"), None);
        assert_eq!(find("$"), Some(json.clone()));
    }

    #[test]
    fn what_is_no_path_says_why() {
        for (path, why) in [
            ("items", "starts with"),
            ("$.a[", "missing"),
            ("$.a[*]", "number"),
            ("$..a", "missing"),
            ("$x", "expected"),
        ] {
            assert!(JsonPath::compile(path).unwrap_err().contains(why), "{path}");
        }
    }
}
