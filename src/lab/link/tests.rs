//! Links between real sockets: what passes, when, and what faults do to it.

use std::{collections::BTreeMap, net::SocketAddr};

use proptest::prelude::*;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpStream, UnixStream},
    time::timeout,
};

use super::{schedule::Gate, *};

/// All that is waited for takes far less; a loaded machine gets more.
const PATIENCE: Duration = Duration::from_secs(30);

fn spec() -> workload::Link {
    workload::Link {
        delay: Duration::ZERO,
        connect_delay: Duration::ZERO,
        jitter: Duration::ZERO,
        bandwidth: None,
        tap: false,
        faults: Vec::new(),
    }
}

fn milliseconds(number: u64) -> Duration {
    Duration::from_millis(number)
}

/// A server that says again whatever is said to it.
async fn echo() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            tokio::spawn(async move {
                let (mut from, mut to) = stream.split();
                let _ = tokio::io::copy(&mut from, &mut to).await;
            });
        }
    });
    address
}

struct Linked {
    link: Link,
    address: SocketAddr,
}

impl Linked {
    async fn new(spec: &workload::Link) -> Self {
        let mut link = Link::open(spec, 1).unwrap();
        let upstream = Upstream::Tcp(vec![echo().await]);
        match link.door(upstream, Path::new("/")).unwrap() {
            Via::Tcp(address) => Self { link, address },
            Via::Unix(path) => panic!("{}", path.display()),
        }
    }

    async fn connect(&self) -> TcpStream {
        let stream = TcpStream::connect(self.address).await.unwrap();
        // Not where it has been reset already.
        let _ = stream.set_nodelay(true);
        stream
    }

    fn fault(kind: FaultKind, at: u64, lasting: u64) -> workload::Link {
        let (at, lasting) = (milliseconds(at), milliseconds(lasting));
        workload::Link {
            faults: vec![Fault { at, lasting, kind }],
            ..spec()
        }
    }

    /// Waits until the link is as wanted.
    async fn until(&self, wanted: impl Fn(&Condition) -> bool) {
        let mut condition = self.link.course.condition.subscribe();
        timeout(PATIENCE, condition.wait_for(|now| wanted(now)))
            .await
            .unwrap()
            .unwrap();
    }
}

/// Says something and waits until it comes back; how long that took.
async fn ask(stream: &mut TcpStream) -> io::Result<Duration> {
    let before = Instant::now();
    stream.write_all(b"hello").await?;
    let mut answer = [0; 5];
    timeout(PATIENCE, stream.read_exact(&mut answer)).await??;
    assert_eq!(&answer, b"hello");
    Ok(before.elapsed())
}

/// Whether nothing comes within a time that an answer never takes.
async fn is_silent(stream: &mut TcpStream) -> bool {
    let _ = stream.write_all(b"hello").await;
    timeout(milliseconds(200), stream.read_u8()).await.is_err()
}

#[tokio::test]
async fn a_round_trip_takes_the_delay_and_connecting_its_own() {
    let linked = Linked::new(&workload::Link {
        delay: milliseconds(30),
        connect_delay: milliseconds(50),
        jitter: milliseconds(4),
        ..spec()
    })
    .await;
    let mut stream = linked.connect().await;
    // The handshake takes a round trip, as over any wire.
    let first = ask(&mut stream).await.unwrap();
    assert!(first >= milliseconds(30 + 50 + 30), "{first:?}");
    let mut quickest = PATIENCE;
    for _ in 0..10 {
        let taken = ask(&mut stream).await.unwrap();
        assert!(taken >= milliseconds(30), "{taken:?}");
        quickest = quickest.min(taken);
    }
    // A tick of a coarse timer each way would not show here; twice the delay would.
    assert!(quickest < milliseconds(58), "{quickest:?}");
}

#[tokio::test]
async fn what_is_sent_in_a_row_takes_the_delay_once() {
    let linked = Linked::new(&workload::Link {
        delay: milliseconds(200),
        ..spec()
    })
    .await;
    let mut stream = linked.connect().await;
    ask(&mut stream).await.unwrap();
    let before = Instant::now();
    for _ in 0..20 {
        stream.write_all(&[7; 1000]).await.unwrap();
        sleep(milliseconds(1)).await;
    }
    let mut answer = vec![0; 20_000];
    stream.read_exact(&mut answer).await.unwrap();
    let taken = before.elapsed();
    assert!(
        taken >= milliseconds(200) && taken < milliseconds(20 * 200),
        "{taken:?}"
    );
}

#[tokio::test]
async fn a_narrow_link_takes_its_time() {
    let linked = Linked::new(&workload::Link {
        bandwidth: Some(1_000_000),
        ..spec()
    })
    .await;
    let mut stream = linked.connect().await;
    let before = Instant::now();
    let (mut from, mut to) = stream.split();
    let sent = vec![9; 300_000];
    let mut answer = vec![0; sent.len()];
    tokio::try_join!(to.write_all(&sent), from.read_exact(&mut answer)).unwrap();
    // Both ways at once, a third of a second each.
    assert!(before.elapsed() >= milliseconds(300), "{:?}", before.elapsed());
    assert_eq!(answer, sent);
}

#[tokio::test]
async fn an_end_is_passed_on_and_a_half_of_it_too() {
    let linked = Linked::new(&spec()).await;
    let mut stream = linked.connect().await;
    stream.write_all(&vec![1; 5_000_000]).await.unwrap();
    stream.shutdown().await.unwrap();
    let mut all = Vec::new();
    timeout(PATIENCE, stream.read_to_end(&mut all)).await.unwrap().unwrap();
    assert_eq!(all.len(), 5_000_000);
    let traffic = linked.link.sum().traffic;
    assert_eq!((traffic.connections, traffic.refused), (1, 0));
    assert_eq!((traffic.sent_bytes, traffic.received_bytes), (5_000_000, 5_000_000));
}

#[tokio::test]
async fn a_reset_cuts_those_that_are_there_and_no_others() {
    let linked = Linked::new(&Linked::fault(FaultKind::Reset, 0, 0)).await;
    let mut stream = linked.connect().await;
    ask(&mut stream).await.unwrap();
    linked.link.switch().begin(Duration::ZERO);
    let ended = timeout(PATIENCE, stream.read_u8()).await.unwrap().unwrap_err();
    assert_eq!(ended.kind(), io::ErrorKind::ConnectionReset);
    ask(&mut linked.connect().await).await.unwrap();
    // In a later window it is past.
    let mut stream = linked.connect().await;
    ask(&mut stream).await.unwrap();
    linked.link.switch().begin(milliseconds(1));
    sleep(milliseconds(50)).await;
    ask(&mut stream).await.unwrap();
    assert_eq!(linked.link.sum().faults.len(), 1);
}

#[tokio::test]
async fn who_is_refused_is_told_at_once_and_only_while_it_lasts() {
    let linked = Linked::new(&Linked::fault(FaultKind::Refuse, 50, 1500)).await;
    let mut stream = linked.connect().await;
    ask(&mut stream).await.unwrap();
    linked.link.switch().begin(Duration::ZERO);
    assert!(timeout(PATIENCE, stream.read_u8()).await.unwrap().is_err());
    linked.until(|now| now.gate == Gate::Refusing).await;
    let refused = match TcpStream::connect(linked.address).await {
        Ok(mut connected) => ask(&mut connected).await.is_err(),
        Err(_) => true,
    };
    assert!(refused);
    linked.until(|now| now.gate == Gate::Open).await;
    ask(&mut linked.connect().await).await.unwrap();
    assert!(linked.link.sum().traffic.refused >= 1);
}

#[tokio::test]
async fn a_blackhole_swallows_and_closes_nothing() {
    let linked = Linked::new(&Linked::fault(FaultKind::Blackhole, 0, 60_000)).await;
    let (mut idle, mut busy) = (linked.connect().await, linked.connect().await);
    ask(&mut idle).await.unwrap();
    ask(&mut busy).await.unwrap();
    let switch = linked.link.switch();
    switch.begin(Duration::ZERO);
    linked.until(|now| now.gate == Gate::Swallowing).await;
    let mut new = linked.connect().await;
    assert!(is_silent(&mut busy).await && is_silent(&mut new).await);
    switch.end();
    linked.until(|now| now.gate == Gate::Open).await;
    // What was lost does not come back; who lost nothing goes on.
    assert!(is_silent(&mut busy).await && is_silent(&mut new).await);
    ask(&mut idle).await.unwrap();
    ask(&mut linked.connect().await).await.unwrap();
}

#[tokio::test]
async fn another_delay_lasts_as_long_as_it_says() {
    let linked = Linked::new(&Linked::fault(FaultKind::Delay(milliseconds(120)), 0, 60_000)).await;
    let mut stream = linked.connect().await;
    assert!(ask(&mut stream).await.unwrap() < milliseconds(120));
    linked.link.switch().begin(Duration::ZERO);
    linked.until(|now| now.delay == milliseconds(120)).await;
    assert!(ask(&mut stream).await.unwrap() >= milliseconds(120));
    let fault = &linked.link.sum().faults[0];
    assert_eq!((fault.kind.as_str(), fault.delay_s), ("delay", Some(0.12)));
}

#[tokio::test]
async fn sockets_of_unix_are_linked_alike_and_gone_with_the_link() {
    let directory = tempfile::tempdir().unwrap();
    let server = directory.path().join("server");
    let listener = UnixListener::bind(&server).unwrap();
    tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        let byte = stream.read_u8().await.unwrap();
        stream.write_u8(byte + 1).await.unwrap();
        let _ = stream.read_u8().await;
    });
    let mut link = Link::open(&spec(), 1).unwrap();
    let Via::Unix(path) = link.door(Upstream::Unix(server), directory.path()).unwrap() else {
        panic!("of another family")
    };
    let mut stream = UnixStream::connect(&path).await.unwrap();
    stream.write_u8(41).await.unwrap();
    assert_eq!(stream.read_u8().await.unwrap(), 42);
    drop(link);
    assert!(timeout(PATIENCE, stream.read_u8()).await.unwrap().is_err());
    assert!(UnixStream::connect(&path).await.is_err());
}

#[tokio::test]
async fn a_server_that_is_not_there_refuses_through_its_link() {
    let gone = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = gone.local_addr().unwrap();
    drop(gone);
    let mut link = Link::open(&spec(), 1).unwrap();
    let Via::Tcp(door) = link.door(Upstream::Tcp(vec![address]), Path::new("/")).unwrap() else {
        panic!("of another family")
    };
    let mut stream = TcpStream::connect(door).await.unwrap();
    assert!(timeout(PATIENCE, stream.read_u8()).await.unwrap().is_err());
}

#[test]
fn the_busiest_connections_are_kept() {
    let tally = Tally::default();
    for number in 0..300_usize {
        let account = tally.open(true);
        account.note(Way::ToServer, &vec![0; number]);
        tally.close(account, false);
    }
    let sum = tally.sum();
    assert_eq!(sum.traffic.connections, 300);
    assert_eq!(sum.connections.len(), 100);
    assert!(sum.connections.iter().all(|connection| connection.sent_bytes >= 200));
    assert_eq!(sum.wire.unwrap().messages, BTreeMap::new());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    /// Whatever passes comes out as it went in, though it is read on the way.
    #[test]
    fn bytes_pass_unchanged(
        pieces in prop::collection::vec(prop::collection::vec(any::<u8>(), 1..3000), 1..12),
        delay in 0_u64..3,
        narrow in any::<bool>(),
    ) {
        let runtime = Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let linked = Linked::new(&workload::Link {
                delay: milliseconds(delay),
                jitter: milliseconds(delay),
                bandwidth: narrow.then_some(50_000_000),
                tap: true,
                ..spec()
            })
            .await;
            let mut stream = linked.connect().await;
            let (mut from, mut to) = stream.split();
            let sent = pieces.concat();
            let mut answer = vec![0; sent.len()];
            let send = async {
                for piece in &pieces {
                    to.write_all(piece).await?;
                }
                Ok(())
            };
            tokio::try_join!(send, from.read_exact(&mut answer)).unwrap();
            assert_eq!(answer, sent);
        });
    }
}
