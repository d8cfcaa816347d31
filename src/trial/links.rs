//! The links of one stage: opened before anything connects, told of the window of load, gone after all else.

use std::{
    io,
    path::{Path, PathBuf},
    time::Duration,
};

use tokio_postgres::{Config, config::Host};
use url::Url;

use super::{TrialError, servers, stage::Stage};
use crate::{
    executor::Event,
    lab::{LabError, Link, Switch, Upstream},
    run::{self, Wire},
    target::Via,
    workload::{Kind, Target, Workload},
};

/// The links of a stage, by target.
pub(super) struct Links {
    links: Vec<Option<Link>>,
}

impl Links {
    /// Links without doors, for the targets that ask for one.
    pub(super) fn open(workload: &Workload) -> Result<Self, TrialError> {
        let links = workload.targets.iter().map(|target| {
            let link = target.link.as_ref().map(|link| Link::open(link, workload.seed));
            link.transpose().map_err(|source| failed(target, source))
        });
        Ok(Self {
            links: links.collect::<Result<_, _>>()?,
        })
    }

    /// Where to connect instead of that address of the target; the address itself without a link.
    pub(super) async fn way(
        &mut self,
        number: usize,
        target: &Target,
        address: &str,
        directory: &Path,
    ) -> Result<Option<Via>, TrialError> {
        let Some(link) = &mut self.links[number] else {
            return Ok(None);
        };
        let opened = async {
            let upstream = upstream(&target.kind, address).await?;
            link.door(upstream, directory).map(Some)
        };
        opened.await.map_err(|source| failed(target, source))
    }

    /// The address of a database for managed processes: through its link, where it has one.
    pub(super) async fn url(
        &mut self,
        number: usize,
        target: &Target,
        url: &str,
        directory: &Path,
    ) -> Result<String, TrialError> {
        match self.way(number, target, url, directory).await? {
            Some(via) => through(url, &via).map_err(|source| failed(target, source)),
            None => Ok(url.to_owned()),
        }
    }

    /// What was said so far between clients and the databases of that stage, where all of it is read.
    pub(super) fn wire(&self) -> Option<Wire> {
        let mut tapped = self.links.iter().flatten().filter(|link| link.is_tapped()).peekable();
        tapped.peek()?;
        let mut all = Wire::default();
        tapped.for_each(|link| all.add(&link.wire()));
        Some(all)
    }

    /// What all of them did.
    pub(super) fn into_sums(self, workload: &Workload) -> Vec<run::Link> {
        let links = self.links.into_iter().zip(&workload.targets);
        let sums = links.filter_map(|(link, target)| {
            Some(run::Link {
                target: target.name.clone(),
                variant: workload.variant_name().map(str::to_owned),
                ..link?.sum()
            })
        });
        sums.collect()
    }
}

/// Tells all links of a window of load when it begins and ends.
pub(super) struct Switches {
    switches: Vec<Switch>,
    /// How long load had lasted before this window.
    before: Duration,
}

impl Switches {
    pub(super) fn of(stages: &[Stage], before: Duration) -> Self {
        let links = stages.iter().flat_map(|stage| stage.links().links.iter().flatten());
        Self {
            switches: links.map(Link::switch).collect(),
            before,
        }
    }

    pub(super) fn look(&self, event: &Event) {
        for switch in &self.switches {
            match event {
                Event::Began => switch.begin(self.before),
                Event::Ended => switch.end(),
                _ => {}
            }
        }
    }
}

fn failed(target: &Target, source: io::Error) -> TrialError {
    let name = format!("target \"{}\": its link", target.name);
    LabError::System { name, source }.into()
}

/// Where a server is, by its address.
async fn upstream(kind: &Kind, address: &str) -> io::Result<Upstream> {
    match kind {
        Kind::Http(_) | Kind::Sqlite { .. } => {
            let url = Url::parse(address).map_err(io::Error::other)?;
            let host = url.host_str().ok_or_else(|| nowhere(address))?;
            let host = host.trim_matches(['[', ']']);
            resolved(host, url.port_or_known_default().unwrap_or(80)).await
        }
        Kind::Postgres(_) => {
            let config = servers::config(address).map_err(io::Error::other)?;
            let port = config.get_ports().first().copied().unwrap_or(5432);
            match (config.get_hostaddrs().first(), config.get_hosts().first()) {
                (Some(address), _) => Ok(Upstream::Tcp(vec![(*address, port).into()])),
                (None, Some(Host::Tcp(host))) => resolved(host, port).await,
                (None, Some(Host::Unix(directory))) => {
                    let socket: PathBuf = directory.join(format!(".s.PGSQL.{port}"));
                    Ok(Upstream::Unix(socket))
                }
                (None, None) => Err(io::Error::other("the address names no host")),
            }
        }
    }
}

async fn resolved(host: &str, port: u16) -> io::Result<Upstream> {
    let found = tokio::net::lookup_host((host, port)).await?;
    Ok(Upstream::Tcp(found.collect()))
}

fn nowhere(address: &str) -> io::Error {
    io::Error::other(format!("{address} names no host"))
}

/// The same address of a PostgreSQL database, by that way: a URL stays one where it can.
fn through(address: &str, via: &Via) -> io::Result<String> {
    let (host, port) = match via {
        Via::Tcp(address) => (address.ip().to_string(), address.port()),
        Via::Unix(path) => {
            let directory = path.parent().unwrap_or(path);
            (directory.display().to_string(), 5432)
        }
    };
    let moved = Url::parse(address).ok().and_then(|mut url| {
        let place = ["host", "hostaddr", "port"];
        // As they are written: not every reader knows a plus as a space.
        let written = url.query().unwrap_or_default().split('&');
        let is_place = |pair: &&str| place.contains(&pair.split('=').next().unwrap_or_default());
        let kept = written.filter(|pair| !pair.is_empty() && !is_place(pair));
        let mut kept: Vec<String> = kept.map(str::to_owned).collect();
        match via {
            Via::Tcp(_) => {
                url.set_host(Some(&host)).ok()?;
                url.set_port(Some(port)).ok()?;
            }
            Via::Unix(_) if url.username().is_empty() && url.host_str().is_none_or(str::is_empty) => {
                kept.push(format!("host={}", host.replace('%', "%25").replace('/', "%2F")));
            }
            Via::Unix(_) => return None,
        }
        let query = kept.join("&");
        url.set_query(Some(query.as_str()).filter(|query| !query.is_empty()));
        Some(url.to_string())
    });
    match moved.filter(|_| address.contains("://")) {
        Some(url) => Ok(url),
        None => Ok(in_words(
            &servers::config(address).map_err(io::Error::other)?,
            &host,
            port,
        )),
    }
}

/// libpq's form of an address.
fn in_words(config: &Config, host: &str, port: u16) -> String {
    let password = config.get_password().map(String::from_utf8_lossy);
    let port = port.to_string();
    let words = [
        ("host", Some(host)),
        ("port", Some(port.as_str())),
        ("user", config.get_user()),
        ("password", password.as_deref()),
        ("dbname", config.get_dbname()),
        ("options", config.get_options()),
        ("application_name", config.get_application_name()),
    ];
    let quoted = |text: &str| text.replace('\\', "\\\\").replace('\'', "\\'");
    let given = words.into_iter().filter_map(|(key, value)| Some((key, value?)));
    let given: Vec<String> = given.map(|(key, value)| format!("{key}='{}'", quoted(value))).collect();
    given.join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_leads_through_the_link_and_is_otherwise_the_same() {
        let tcp = Via::Tcp(([127, 0, 0, 1], 99).into());
        let led = |address| through(address, &tcp).unwrap();
        assert_eq!(
            led("postgres://u:p%40@db.example:5433/shop?sslmode=require&options=-c%20geqo%3Doff&port=1"),
            "postgres://u:p%40@127.0.0.1:99/shop?sslmode=require&options=-c%20geqo%3Doff"
        );
        assert_eq!(led("postgres://u@db.example/shop"), "postgres://u@127.0.0.1:99/shop");
        assert_eq!(
            led("host=db.example user=u password='it''s' dbname=shop"
                .replace("''", "\\'")
                .as_str()),
            "host='127.0.0.1' port='99' user='u' password='it\\'s' dbname='shop'"
        );
        let unix = Via::Unix("/tmp/a b/.s.PGSQL.5432".into());
        let config = |address| servers::config(&through(address, &unix).unwrap()).unwrap();
        for address in [
            "postgres:///shop?host=%2Fvar%2Frun&user=u",
            "postgres://u@%2Fvar%2Frun/shop",
            "host=/var/run user=u dbname=shop",
        ] {
            let config = config(address);
            assert_eq!(config.get_hosts(), [Host::Unix("/tmp/a b".into())], "{address}");
            assert_eq!(
                (config.get_user(), config.get_dbname()),
                (Some("u"), Some("shop")),
                "{address}"
            );
        }
    }
}
