//! The cookies of one session, which is one user's. Costs nothing until one is set.

use cookie_store::CookieStore;
use hyper::{
    HeaderMap,
    header::{HeaderValue, SET_COOKIE},
};
use url::Url;

/// A user's jar takes no more cookies than this, and none that is longer: the server
/// shall not fill the memory. RFC 6265 §6.1 wants room for 50 of 4096 bytes each.
const MOST: usize = 200;
const LONGEST: usize = 8 << 10;

/// What a session knows of its user.
#[derive(Debug, Clone, Default)]
pub(super) struct Jar {
    kept: Option<Box<CookieStore>>,
    /// What it goes back to; only while that differs.
    settled: Option<Option<Box<CookieStore>>>,
}

impl Jar {
    /// Keeps what an answer from that path sets.
    pub(super) fn keep(&mut self, headers: &HeaderMap, origin: &Url, path: &str) {
        if !headers.contains_key(SET_COOKIE) {
            return;
        }
        if self.settled.is_none() {
            self.settled = Some(self.kept.clone());
        }
        let kept = self.kept.get_or_insert_default();
        let url = at(origin, path);
        for cookie in headers.get_all(SET_COOKIE) {
            let Some(cookie) = cookie.to_str().ok().filter(|cookie| cookie.len() <= LONGEST) else {
                continue;
            };
            let replaces = |known: &cookie_store::Cookie<'_>| cookie.split('=').next() == Some(known.name());
            if kept.iter_any().count() < MOST || kept.iter_any().any(replaces) {
                // As in a browser, a cookie that makes no sense is none.
                let _ = kept.parse(cookie, &url);
            }
        }
    }

    /// The header `cookie` of a request to that path.
    pub(super) fn header(&self, origin: &Url, path: &str) -> Option<HeaderValue> {
        let kept = self.kept.as_ref()?;
        let mut text = String::new();
        for (name, value) in kept.get_request_values(&at(origin, path)) {
            if !text.is_empty() {
                text.push_str("; ");
            }
            text.push_str(name);
            text.push('=');
            text.push_str(value);
        }
        if text.is_empty() {
            return None;
        }
        HeaderValue::try_from(text).ok()
    }

    /// What is known now is what [`Jar::renew`] goes back to.
    pub(super) fn settle(&mut self) {
        self.settled = None;
    }

    /// Goes back to what was known when it was settled.
    pub(super) fn renew(&mut self) {
        if let Some(settled) = self.settled.take() {
            self.kept = settled;
        }
    }
}

fn at(origin: &Url, path: &str) -> Url {
    let mut url = origin.clone();
    url.set_path(path);
    url
}

#[cfg(test)]
mod tests {
    use super::*;

    fn setting(cookies: &[&'static str]) -> HeaderMap {
        cookies
            .iter()
            .map(|cookie| (SET_COOKIE, HeaderValue::from_static(cookie)))
            .collect()
    }

    fn origin() -> Url {
        Url::parse("http://shop.example:8080/").unwrap()
    }

    #[test]
    fn cookies_go_back_to_where_they_belong() {
        let mut jar = Jar::default();
        assert_eq!(jar.header(&origin(), "/"), None);
        jar.keep(
            &setting(&["a=1", "b=2; Path=/shop", "c=3; Secure", "=;;"]),
            &origin(),
            "/login",
        );
        assert_eq!(jar.header(&origin(), "/").unwrap(), "a=1");
        let shop = jar.header(&origin(), "/shop/1").unwrap();
        let mut shop: Vec<_> = shop.to_str().unwrap().split("; ").collect();
        shop.sort_unstable();
        assert_eq!(shop, ["a=1", "b=2"]);
        jar.keep(&setting(&["a=; Max-Age=0"]), &origin(), "/");
        assert_eq!(jar.header(&origin(), "/"), None);
    }

    #[test]
    fn a_server_cannot_fill_the_jar() {
        let mut jar = Jar::default();
        let mut set = |cookie: String| {
            let headers = [(SET_COOKIE, HeaderValue::try_from(cookie).unwrap())];
            jar.keep(&headers.into_iter().collect(), &origin(), "/");
            let kept = jar.header(&origin(), "/").unwrap();
            kept.to_str()
                .unwrap()
                .split("; ")
                .map(str::to_owned)
                .collect::<Vec<_>>()
        };
        for number in 0..2 * MOST {
            set(format!("c{number}=1"));
        }
        assert_eq!(set(format!("long={}", "x".repeat(LONGEST))).len(), MOST);
        let kept = set("c7=2".into());
        assert_eq!(kept.len(), MOST);
        assert!(kept.contains(&"c7=2".to_owned()));
    }

    #[test]
    fn a_renewed_jar_is_as_it_was_settled() {
        let mut jar = Jar::default();
        jar.keep(&setting(&["a=1"]), &origin(), "/");
        jar.renew();
        assert_eq!(jar.header(&origin(), "/"), None);
        jar.keep(&setting(&["a=1"]), &origin(), "/");
        jar.settle();
        jar.keep(&setting(&["a=2"]), &origin(), "/");
        jar.keep(&setting(&["a=3"]), &origin(), "/");
        jar.renew();
        assert_eq!(jar.header(&origin(), "/").unwrap(), "a=1");
        jar.renew();
        assert_eq!(jar.header(&origin(), "/").unwrap(), "a=1");
    }
}
