//! What HTTP steps become, and what cannot become one.

use super::{compiled, flow, problems, steps, told};
use crate::workload::{Body, HttpRequest, Path, Request, Values, Workload};

fn request(workload: &Workload, step: usize) -> &HttpRequest {
    match &steps(workload)[step].request {
        Request::Http(http) => http,
        _ => panic!("no HTTP step"),
    }
}

#[test]
fn what_never_changes_is_made_before_the_load() {
    let workload = flow(
        "[[flow.step]]\npost = \"/a?b=1\"\njson = { c = 1 }\nheaders = { x-a = \"b\" }\n[[flow.step]]\nname = \"n\"\nget = \"/{{ n }}\"\nheaders = { x-n = \"{{ n }}\" }\n[data.n]\nconstant = 7\n",
    );
    let constant = request(&workload, 0);
    assert!(matches!(&constant.path, Path::Constant(path) if path == "/a?b=1"));
    assert!(matches!(&constant.body, Some(Body::Constant(body)) if *body == "{\"c\":1}"));
    assert!(constant.wants_host && constant.rendered.is_empty() && constant.credentials.is_none());
    assert_eq!(
        (&constant.headers["x-a"], &constant.headers["content-length"]),
        (&"b".parse().unwrap(), &7.into())
    );
    let rendered = request(&workload, 1);
    assert!(matches!(rendered.path, Path::Rendered(_)));
    assert_eq!(rendered.rendered.len(), 1);
    assert!(!rendered.headers.contains_key("content-length"));
}

#[test]
fn a_step_overrides_its_target() {
    let text = super::flow_text(
        "[[flow.step]]\nname = \"a\"\nget = \"/\"\n[[flow.step]]\nname = \"b\"\nget = \"/\"\nredirects = 0\nfirst_byte_timeout = \"1s\"\nauth = { bearer = \"own\" }\n[[flow.step]]\nname = \"c\"\nget = \"/\"\nheaders = { authorization = \"Other x\", host = \"h\", accept-encoding = \"br\" }\n",
    )
    .replace(
        "http = \"http://127.0.0.1:1\"",
        "http = \"http://127.0.0.1:1/base/\"\nredirects = 5\nfirst_byte_timeout = \"2s\"\ncompression = true\nauth = { basic = { user = \"u\", password = \"pass\" } }",
    );
    let workload = compiled(&text);
    let [a, b, c] = [0, 1, 2].map(|step| request(&workload, step));
    assert!(matches!(&a.path, Path::Constant(path) if path == "/base/"));
    assert_eq!((a.redirects, b.redirects, c.redirects), (5, 0, 5));
    let seconds = |http: &HttpRequest| http.first_byte_timeout.map(|timeout| timeout.as_secs());
    assert_eq!((seconds(a), seconds(b)), (Some(2), Some(1)));
    let authorization = [a, b, c].map(|http| http.headers["authorization"].to_str().unwrap());
    assert_eq!(authorization, ["Basic dTpwYXNz", "Bearer own", "Other x"]);
    assert!(a.wants_host && !c.wants_host);
    assert_eq!(
        [a, c].map(|http| http.headers["accept-encoding"].to_str().unwrap()),
        ["gzip, br", "br"]
    );
    assert_eq!(
        workload.secrets.mask("dTpwYXNz pass own"),
        "••• ••• own",
        "three letters are no secret"
    );
}

#[test]
fn credentials_of_a_target_wait_for_their_variables() {
    let text = super::flow_text(
        "[[flow.step]]\nname = \"log in\"\npost = \"/login\"\nsave = { token = \"$.t\" }\n[[flow.step]]\nname = \"in\"\nget = \"/\"\n",
    )
    .replace("[target.db]", "auth = { bearer = \"{{ token }}\" }\n[target.db]");
    let workload = compiled(&text);
    let [login, inside] = [0, 1].map(|step| request(&workload, step));
    assert!(login.credentials.is_none() && !login.headers.contains_key("authorization"));
    assert!(inside.credentials.is_some());
    let mistaken = told(&text.replace("{{ token }}", "{{ tokn }}"));
    assert_eq!(
        mistaken,
        ["unknown variable \"tokn\": neither data nor saved before this step"]
    );
}

#[test]
fn parts_have_a_boundary_that_is_always_the_same() {
    let multipart = "[[flow.step]]\npost = \"/\"\nmultipart = [{ name = 'a\"b', value = \"{{ n }}\" }, { name = \"c\", value = \"d\" }]\n[data.n]\nuniform = { from = 1, to = 9 }\n";
    let text = |pass: u64| {
        let workload = flow(multipart);
        let mut values = Values::new(&workload);
        values.begin(pass, &[]);
        let http = request(&workload, 0);
        let body = http.body.as_ref().unwrap().render(&mut values);
        let boundary = http.headers["content-type"]
            .to_str()
            .unwrap()
            .split_once('=')
            .unwrap()
            .1
            .to_owned();
        (String::from_utf8(body.to_vec()).unwrap(), boundary)
    };
    let (body, boundary) = text(1);
    let (other, same) = text(2);
    assert_eq!((boundary.len(), &boundary), (41, &same));
    assert!(body.starts_with(&format!(
        "--{boundary}\r\ncontent-disposition: form-data; name=\"a%22b\"\r\n\r\n"
    )));
    assert!(body.ends_with(&format!("\r\n\r\nd\r\n--{boundary}--\r\n")), "{body}");
    assert_ne!(body, other);
}

#[test]
fn requests_that_make_no_sense_say_so() {
    for (keys, told) in [
        (
            "body = \"a\"\nform = { b = 1 }",
            "two bodies: `body` and `form` exclude each other",
        ),
        (
            "json = 1\nbody_file = \"x\"",
            "two bodies: `json` and `body_file` exclude each other",
        ),
        ("multipart = []", "an empty body: no parts"),
        (
            "multipart = [{ value = \"x\" }]",
            "a part without a name: `name` is missing",
        ),
        (
            "multipart = [{ name = \"x\" }]",
            "a part without content: exactly one of `value` and `file`",
        ),
        ("auth = {}", "not credentials: exactly one of `basic` and `bearer`"),
        (
            "auth = { basic = { user = \"a\" } }",
            "not credentials: `user` and `password` are both needed",
        ),
        (
            "auth = { basic = { user = \"a:b\", password = \"c\" } }",
            "not a user: the name of a user cannot have `:` in it",
        ),
        (
            "auth = { bearer = \"a\\nb\" }",
            "not credentials: it has characters that HTTP does not allow in a header",
        ),
        ("redirects = -1", "`redirects` is out of bounds: must be from 0 to 100"),
        ("first_byte_timeout = \"0s\"", "not a timeout: it must be above zero"),
        (
            "expect = { max_size = \"1GB\" }",
            "not a size: \"GB\" is no unit of size; use B, KB, MB, KiB or MiB",
        ),
        (
            "expect = { header = { \"a b\" = \"c\" } }",
            "not a header: a b: the name has characters that HTTP does not allow",
        ),
        (
            "save = { a = {} }",
            "a value from nowhere: neither `regex` nor `header`",
        ),
        (
            "save = { a = { regex = \"(\" } }",
            "not a regular expression: unclosed group",
        ),
        (
            "save = { a = { header = \"a b\" } }",
            "not a header: a b: the name has characters that HTTP does not allow",
        ),
    ] {
        assert_eq!(
            problems(&format!("[[flow.step]]\npost = \"/\"\n{keys}\n")),
            [told],
            "{keys}"
        );
    }
    for key in [
        "form = { a = 1 }",
        "auth = { bearer = \"x\" }",
        "redirects = 1",
        "body_file = \"x\"",
        "multipart = []",
    ] {
        let told = problems(&format!("[[flow.step]]\nsql = \"SELECT 1\"\n{key}\n"));
        assert!(
            told[0].contains("does not belong here: a step with `sql` has no"),
            "{told:?}"
        );
    }
    let rows = problems(
        "[[flow.step]]\nsql = \"SELECT 1\"\nsave = { a = { regex = \"x\" } }\nexpect = { max_size = \"1B\" }\n",
    );
    assert_eq!(rows.len(), 2, "{rows:?}");
    let missing = problems("[[flow.step]]\npost = \"/\"\nbody_file = \"nowhere\"\n");
    assert!(missing[0].starts_with("the file cannot be sent: "), "{missing:?}");
}

#[test]
fn services_that_make_no_sense_say_so() {
    for (keys, wrong) in [
        ("host = \"http://x\"", "not a host"),
        ("host = \"a@b\"", "not a host"),
        ("ca = \"nowhere.pem\"", "no such file"),
        ("connect_timeout = \"0s\"", "not a timeout"),
        ("redirects = 101", "`redirects` is out of bounds"),
        (
            "auth = { bearer = \"a\", basic = { user = \"b\", password = \"c\" } }",
            "not credentials",
        ),
        ("cert = \"c.pem\"", "half of a client certificate"),
        ("key = \"k.pem\"", "half of a client certificate"),
    ] {
        let text =
            super::flow_text("[[flow.step]]\nget = \"/\"\n").replace("[target.db]", &format!("{keys}\n[target.db]"));
        let found = told(&text);
        assert!(found.len() == 1 && found[0].starts_with(wrong), "{keys}: {found:?}");
        let misplaced =
            told(&super::flow_text("[[flow.step]]\nget = \"/\"\n").replace("[load]", &format!("{keys}\n[load]")));
        assert!(
            misplaced.iter().any(|told| told.contains("does not belong here")),
            "{keys}: {misplaced:?}"
        );
    }
}
