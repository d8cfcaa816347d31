//! `loadgate http`: a URL and options, in curl's words where curl has them.

use std::collections::BTreeMap;

use hyper::Uri;
use toml_edit::{DocumentMut, InlineTable, Table, value};

use super::{super::args::HttpArgs, beside, document, list, nested, short};

/// A scenario of one request.
///
/// With a candidate it is that of the base, and the candidate a variant of it.
pub(super) fn scenario(args: &HttpArgs) -> Result<DocumentMut, String> {
    let [url, candidate] = match (args.variants.both(), &args.url) {
        (Some([base, candidate]), _) => [base, candidate],
        (None, Some(url)) => [url.as_str(), url.as_str()],
        (None, None) => return Err("the URL is missing".into()),
    };
    let place = Place::read(url)?;
    let path = place.path.as_str();
    let has_body = args.body.is_some() || !args.form.is_empty();
    let method = args.method.as_deref().unwrap_or(if has_body { "POST" } else { "GET" });

    let mut step = Table::new();
    step["name"] = value(short(&format!("{method} {path}"), 200));
    step[&method.to_ascii_lowercase()] = value(path);
    if !args.header.is_empty() {
        step["headers"] = value(headers(&args.header)?);
    }
    if let Some(body) = &args.body {
        step["body"] = value(body);
    }
    if !args.form.is_empty() {
        step["form"] = value(form(&args.form)?);
    }
    let target = target(args, place.base.clone())?;
    let name = format!("{method} {}{}", place.base, path.split('?').next().unwrap_or(path));
    let mut document = document(&name, target, step.clone(), BTreeMap::new(), &args.load)?;
    if args.variants.both().is_some() {
        let candidate = Place::read(candidate)?;
        let mut own = Table::new();
        let mut target = Table::new();
        target["http"] = value(&candidate.base);
        own["target"] = nested("main", target);
        if candidate.path != place.path {
            // The step keeps its name, by which the two are compared.
            step[&method.to_ascii_lowercase()] = value(&candidate.path);
            let mut flow = Table::new();
            flow["name"] = value("main");
            flow["step"] = list(step);
            own["flow"] = list(flow);
        }
        beside(&mut document, own);
    }
    Ok(document)
}

/// A URL in the two parts that a scenario has.
struct Place {
    /// `http://host:port`.
    base: String,
    /// Path and query.
    path: String,
}

impl Place {
    fn read(written: &str) -> Result<Self, String> {
        let url = if written.contains("://") {
            written.to_owned()
        } else {
            format!("http://{written}")
        };
        let uri: Uri = url
            .parse()
            .map_err(|error| format!("{written}: {error}; write it as http://host:port/path"))?;
        let authority = uri.authority().ok_or_else(|| format!("{written} names no host"))?;
        let scheme = uri.scheme_str().unwrap_or("http");
        Ok(Self {
            base: format!("{scheme}://{authority}"),
            path: uri.path_and_query().map_or("/", |path| path.as_str()).to_owned(),
        })
    }
}

fn target(args: &HttpArgs, base: String) -> Result<Table, String> {
    let mut target = Table::new();
    target["http"] = value(base);
    let texts = [
        ("host", &args.host),
        ("timeout", &args.timeout),
        ("connect_timeout", &args.connect_timeout),
        ("ca", &args.cacert),
        ("cert", &args.cert),
        ("key", &args.key),
    ];
    for (key, text) in texts {
        if let Some(text) = text {
            target[key] = value(text);
        }
    }
    let switches = [
        ("http2", args.http2),
        ("compression", args.compression),
        ("insecure", args.insecure),
    ];
    for (key, on) in switches {
        if on {
            target[key] = value(true);
        }
    }
    if let Some(redirects) = args.redirects {
        target["redirects"] = value(i64::from(redirects));
    }
    let mut auth = InlineTable::new();
    if let Some(user) = &args.user {
        let (user, password) = user
            .split_once(':')
            .ok_or("--user: write it as user:password".to_owned())?;
        let mut basic = InlineTable::new();
        basic.insert("user", user.into());
        basic.insert("password", password.into());
        auth.insert("basic", basic.into());
    }
    if let Some(token) = &args.bearer {
        auth.insert("bearer", token.into());
    }
    if !auth.is_empty() {
        target["auth"] = value(auth);
    }
    Ok(target)
}

fn form(given: &[(String, String)]) -> Result<InlineTable, String> {
    let mut form = InlineTable::new();
    for (name, text) in given {
        if form.insert(name, text.into()).is_some() {
            return Err(format!(
                "--form {name}: given twice; with --body the whole form can be written"
            ));
        }
    }
    Ok(form)
}

fn headers(given: &[String]) -> Result<InlineTable, String> {
    let mut headers = InlineTable::new();
    for header in given {
        let (name, text) = header
            .split_once(':')
            .ok_or_else(|| format!("--header {header}: write it as 'name: value'"))?;
        headers.insert(name.trim(), text.trim().into());
    }
    Ok(headers)
}
