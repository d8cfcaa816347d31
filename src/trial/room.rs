//! Whether the user's servers have room for all sessions of the load: asked before anything
//! is made, so that it is not found out in the middle of a run.

use std::{path::Path, sync::Arc, time::Duration};

use tokio::time::timeout;
use tokio_postgres::{Config, config::Host};

use super::{TrialError, servers::config};
use crate::{
    executor,
    target::{Connector, Room, fill},
    workload::{Connections, Kind, Profile, Provision, Workload},
};

/// For so few connections nobody is asked.
const FEW: u64 = 10;

/// A server that does not answer is met, and told, later.
const PATIENCE: Duration = Duration::from_secs(5);

/// What is needed of one server.
struct Server {
    place: Place,
    /// Name of the first target on it.
    target: String,
    connector: Connector,
    needed: u64,
    /// Whether pools make them, of some variant or of all.
    pooled: bool,
}

/// Servers are told apart by where they are.
#[derive(PartialEq)]
struct Place {
    hosts: Vec<Host>,
    ports: Vec<u16>,
}

impl Place {
    fn of(config: &Config) -> Self {
        let hosts = config.get_hosts().to_vec();
        let named = hosts.len().max(1);
        let mut ports = config.get_ports().to_vec();
        if ports.is_empty() {
            ports = vec![5432; named];
        }
        Self { hosts, ports }
    }
}

/// What the reader should know of servers that may have too little room.
///
/// # Errors
/// When one certainly has. Servers that cannot be asked are met, and told, later.
pub(super) async fn check(workload: &Arc<Workload>, directory: &Path) -> Result<Vec<String>, TrialError> {
    let sessions = executor::sessions(&workload.load.profile);
    let mut notes = Vec::new();
    for server in servers(workload, directory).await {
        if server.needed <= FEW {
            continue;
        }
        let Ok(Ok(Some(room))) = timeout(PATIENCE, server.connector.room()).await else {
            continue;
        };
        if server.needed <= room.left() {
            continue;
        }
        let told = told(&server, room, workload, sessions);
        if room.direct {
            return Err(TrialError::NoRoom(told));
        }
        notes.push(format!(
            "{told}. It is reached through a pooler, which may make do with fewer"
        ));
    }
    Ok(notes)
}

/// The user's own PostgreSQL servers, with the connections that all variants make to each.
async fn servers(workload: &Arc<Workload>, directory: &Path) -> Vec<Server> {
    let sessions = executor::sessions(&workload.load.profile);
    let mut servers: Vec<Server> = Vec::new();
    for variant in workload.variants() {
        for (number, target) in variant.targets.iter().enumerate() {
            let private = matches!(target.provision, Some(Provision::Server(_)));
            let Kind::Postgres(postgres) = &target.kind else {
                continue;
            };
            // A managed one, or a pooler, is not there yet.
            if private || target.managed.is_some() || target.pooler.is_some() {
                continue;
            }
            let address = fill(&postgres.connection, None, directory);
            let Ok(config) = config(&address) else {
                continue;
            };
            let place = Place::of(&config);
            let at = match servers.iter().position(|server| server.place == place) {
                Some(at) => at,
                None => {
                    let Ok(connector) = Connector::bind(variant, number, &address, None, sessions).await else {
                        continue;
                    };
                    servers.push(Server {
                        place,
                        target: target.name.clone(),
                        connector,
                        needed: 0,
                        pooled: false,
                    });
                    servers.len() - 1
                }
            };
            servers[at].needed += postgres.connections.most(sessions, variant.flows_of(number).len()) as u64;
            servers[at].pooled |= matches!(postgres.connections, Connections::Pooled(_));
        }
    }
    servers
}

fn told(server: &Server, room: Room, workload: &Workload, sessions: usize) -> String {
    let Room {
        most, reserved, used, ..
    } = room;
    let variants = 1 + workload.others.len();
    let of_each = match variants {
        // Pools need not be of one size.
        _ if server.pooled => String::new(),
        1 => String::new(),
        variants => format!(" ({sessions} for each of {variants} variants)"),
    };
    let lower = match workload.load.profile {
        _ if server.pooled => "`max` of the pool",
        Profile::Open { .. } => "load.max_in_flight",
        Profile::Closed { .. } => "load.users",
    };
    format!(
        "the server of target \"{}\" has room for {} more connections (max_connections is {most}, {reserved} are \
         reserved, {used} are in use), and the load makes {}{of_each}: lower {lower}, or raise max_connections",
        server.target,
        room.left(),
        server.needed,
    )
}
