//! Sessions as executors use them: where the time of a request went, and whose
//! cookies they send.

use std::{sync::Arc, thread, time::Duration};

use loadgate::{
    sample::{Outcome, Phases},
    scenario::{Text, parse},
    target::{self, Connector, Reply, Session as _, Sessions},
    workload::{Action, Step, Values, Workload, compile},
};
use rustls::ServerConfig;

use crate::support::{
    certificates::Authority,
    web::{self, Web},
};

fn compiled(target: &str, steps: &str) -> Workload {
    let toml = format!(
        "name = \"t\"\n[target.t]\n{target}\n[load]\nusers = 1\niterations = 1\n[[flow]]\nname = \"f\"\n{steps}"
    );
    let text = Text {
        path: "t.toml".into(),
        toml,
    };
    compile(parse(text, &[]).unwrap(), &|_| None).unwrap_or_else(|rejected| panic!("{:?}", rejected.problems))
}

async fn connector(workload: &Workload) -> Connector {
    Connector::bind(workload, 0, workload.targets[0].kind.address(), None, 1)
        .await
        .unwrap()
}

fn steps(workload: &Workload) -> Vec<&Step> {
    let actions = workload.flows[0].actions.iter();
    actions
        .filter_map(|action| match action {
            Action::Step(step) => Some(step),
            _ => None,
        })
        .collect()
}

/// An answer after 50 ms; one that redirects after as many.
fn slow(tls: Option<Arc<ServerConfig>>) -> Web {
    Web::start(tls, |seen| {
        thread::sleep(Duration::from_millis(50));
        match seen.path.as_str() {
            "/redirect" => web::answer(302, &[("location", "/"), ("connection", "close")], "x"),
            _ => web::answer(200, &[], "x"),
        }
    })
}

#[tokio::test]
async fn phases_tell_where_the_time_went() {
    let authority = Authority::new();
    let plain = slow(None);
    let secure = slow(Some(authority.server(&["127.0.0.1"], &["h2", "http/1.1"], false)));
    for (url, keys, tls) in [
        (plain.url("http"), "", false),
        (plain.url("http"), "http2 = true", false),
        (secure.url("https"), "insecure = true", true),
        (secure.url("https"), "insecure = true\nhttp2 = true", true),
    ] {
        let workload = compiled(
            &format!("http = \"{url}\"\nredirects = 1\n{keys}"),
            "[[flow.step]]\nget = \"/\"\n[[flow.step]]\nget = \"/redirect\"\n",
        );
        let mut sessions = Sessions::new(&[connector(&workload).await]);
        let (mut values, mut reply) = (Values::new(&workload), Reply::default());
        let [plain, redirected] = steps(&workload)[..] else {
            panic!()
        };

        let outcome = target::perform(&mut sessions, plain, &mut values, &mut reply).await;
        assert_eq!(outcome, Outcome::Completed, "{:?}", reply.message);
        let Phases {
            connect,
            tls: handshake,
            first_byte,
            body,
            acquire,
        } = reply.phases;
        assert_eq!(acquire, None, "there is no pool");
        assert!(
            connect.is_some() && handshake.is_some() == tls,
            "{url} {keys}: {:?}",
            reply.phases
        );
        assert!(first_byte.unwrap() >= Duration::from_millis(50));
        let sum = connect.unwrap() + handshake.unwrap_or_default() + first_byte.unwrap() + body.unwrap();
        let whole = reply.end - reply.start;
        assert!(
            sum <= whole && whole - sum < Duration::from_millis(20),
            "{sum:?} of {whole:?}"
        );

        let outcome = target::perform(&mut sessions, plain, &mut values, &mut reply).await;
        assert_eq!(
            (outcome, reply.phases.connect, reply.phases.tls),
            (Outcome::Completed, None, None)
        );

        // Only the last of two answers.
        let outcome = target::perform(&mut sessions, redirected, &mut values, &mut reply).await;
        assert_eq!((outcome, reply.answer.status), (Outcome::Completed, Some(200)));
        let first_byte = reply.phases.first_byte.unwrap();
        assert!(first_byte < Duration::from_millis(95), "{first_byte:?}");
        assert!(reply.end - reply.start >= Duration::from_millis(100));
    }
}

#[tokio::test]
async fn a_renewed_session_is_somebody_else_and_a_settled_one_stays() {
    let web = Web::start(None, |seen| match seen.path.as_str() {
        "/login" => web::answer(200, &[("set-cookie", "user=ann; Path=/")], ""),
        _ => web::answer(200, &[], ""),
    });
    let text = "[[flow.step]]\nget = \"/login\"\n[[flow.step]]\nget = \"/\"\n[[flow.step]]\nname = \"own\"\nget = \"/own\"\nheaders = { cookie = \"mine=1\" }\n";
    let workload = compiled(&format!("http = \"{}\"", web.url("http")), text);
    let mut sessions = Sessions::new(&[connector(&workload).await]);
    let (mut values, mut reply) = (Values::new(&workload), Reply::default());
    let [login, home, own] = steps(&workload)[..] else {
        panic!()
    };
    let mut cookie = async |sessions: &mut Sessions, step| {
        target::perform(sessions, step, &mut values, &mut reply).await;
        web.seen().last().unwrap().header("cookie").map(str::to_owned)
    };
    assert_eq!(cookie(&mut sessions, login).await, None);
    assert_eq!(cookie(&mut sessions, home).await.as_deref(), Some("user=ann"));
    assert_eq!(cookie(&mut sessions, own).await.as_deref(), Some("mine=1"));
    sessions.renew();
    assert_eq!(cookie(&mut sessions, home).await, None);
    cookie(&mut sessions, login).await;
    sessions.settle();
    sessions.renew();
    assert_eq!(cookie(&mut sessions, home).await.as_deref(), Some("user=ann"));

    let workload = compiled(&format!("http = \"{}\"\ncookies = false", web.url("http")), text);
    let mut sessions = Sessions::new(&[connector(&workload).await]);
    let [login, home, _] = steps(&workload)[..] else {
        panic!()
    };
    cookie(&mut sessions, login).await;
    assert_eq!(cookie(&mut sessions, home).await, None);
}
