//! Texts that must not reach a report, a log or an error, and how they are known.

/// Texts that must not reach a report, a log or an error.
#[derive(Clone, Default)]
pub struct Secrets {
    texts: Vec<String>,
}

impl Secrets {
    /// Adds one; very short texts are no secrets and would mask half of everything.
    pub fn add(&mut self, text: &str) {
        if text.len() >= 4 && !self.texts.iter().any(|known| known == text) {
            self.texts.push(text.to_owned());
            // The longest first: one secret may contain another.
            self.texts.sort_by_key(|text| std::cmp::Reverse(text.len()));
        }
    }

    /// Adds the value of a header, and its part after the scheme (`Bearer …`).
    pub(super) fn add_header(&mut self, value: &str) {
        self.add(value);
        if let Some((_, credentials)) = value.split_once(' ') {
            self.add(credentials.trim());
        }
    }

    /// Adds the password of a URL as it stands there, percent-encoded or not.
    pub(super) fn add_password_of(&mut self, url: &str) {
        let password = url
            .split_once("://")
            .and_then(|(_, rest)| rest.split(['/', '?', '#']).next()?.rsplit_once('@'))
            .and_then(|(user, _)| user.split_once(':'));
        if let Some((_, password)) = password {
            self.add(password);
        }
    }

    /// All of them, for those who mask by themselves.
    pub fn texts(&self) -> &[String] {
        &self.texts
    }

    /// The text with every secret replaced.
    pub fn mask(&self, text: &str) -> String {
        self.replace(text, |_| "•••".into())
    }

    /// The text with every secret replaced by as many bytes, so that places in it stay right.
    pub(super) fn blot(&self, text: &str) -> String {
        self.replace(text, |secret| "*".repeat(secret.len()))
    }

    fn replace(&self, text: &str, by: impl Fn(&str) -> String) -> String {
        self.texts.iter().fold(text.to_owned(), |text, secret| {
            if text.contains(secret.as_str()) {
                text.replace(secret.as_str(), &by(secret))
            } else {
                text
            }
        })
    }
}

impl std::fmt::Debug for Secrets {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Secrets({})", self.texts.len())
    }
}

/// Whether the value of an environment variable of that name must not be shown.
pub(super) fn is_secret_name(name: &str) -> bool {
    let name = name.to_ascii_uppercase();
    [
        "PASS",
        "SECRET",
        "TOKEN",
        "KEY",
        "CREDENTIAL",
        "AUTH",
        "COOKIE",
        "DSN",
        "DATABASE_URL",
    ]
    .iter()
    .any(|part| name.contains(part))
}

/// Headers whose values are secrets wherever they come from.
pub(super) fn is_secret_header(name: &str) -> bool {
    ["authorization", "proxy-authorization", "cookie", "x-api-key"]
        .iter()
        .any(|secret| name.eq_ignore_ascii_case(secret))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn secrets(texts: &[&str]) -> Secrets {
        let mut secrets = Secrets::default();
        texts.iter().for_each(|text| secrets.add(text));
        secrets
    }

    #[test]
    fn the_longest_secret_is_masked_first_and_short_texts_are_none() {
        let secrets = secrets(&["token", "token-2", "abc"]);
        assert_eq!(secrets.mask("token-2 token abc"), "••• ••• abc");
    }

    #[test]
    fn blotting_keeps_places() {
        let text = "a = \"gehéim\" b";
        let blotted = secrets(&["gehéim"]).blot(text);
        assert_eq!((blotted.len(), blotted.find(" b")), (text.len(), text.find(" b")));
        assert!(!blotted.contains("geh"));
    }

    #[test]
    fn passwords_and_credentials_are_found_where_they_stand() {
        let mut secrets = Secrets::default();
        secrets.add_password_of("postgres://user:p%40ss@host/db?x=a@b");
        secrets.add_password_of("postgres://user@host:5432/db");
        secrets.add_header("Bearer abcdef");
        assert_eq!(secrets.texts(), ["Bearer abcdef", "p%40ss", "abcdef"]);
        assert!(is_secret_name("GITHUB_TOKEN") && is_secret_name("db_password") && !is_secret_name("HOST"));
        assert!(is_secret_header("Authorization") && !is_secret_header("accept"));
    }
}
