//! Authentication: valid and invalid certificates and tokens, over real sockets.

mod common;

use common::{Clock, Run, Served, options, within, worker};
use nn_engine::{Cluster, Outcome};
use nn_net::{
    Authorities, ClientSecurity, ConnectError, DialOptions, DoorLimits, Identity, Pem, SecurityError,
    ServerSecurity, Token, WorkerEnd, WorkerError, status,
};
use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DnType, ExtendedKeyUsagePurpose, IsCa, KeyPair,
};
use time::{Duration, OffsetDateTime};

/// An authority that can sign certificates of every kind.
struct Authority(CertifiedIssuer<'static, KeyPair>);

/// The contents of a certificate.
struct Wish {
    hosts: &'static [&'static str],
    days: std::ops::Range<i64>,
    purpose: ExtendedKeyUsagePurpose,
}

const SERVER: Wish =
    Wish { hosts: &["127.0.0.1", "localhost"], days: -1..10, purpose: ExtendedKeyUsagePurpose::ServerAuth };
const CLIENT: Wish = Wish { hosts: &[], days: -1..10, purpose: ExtendedKeyUsagePurpose::ClientAuth };

impl Authority {
    fn new(name: &str) -> Self {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        params.distinguished_name.push(DnType::CommonName, name);
        Self(CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap())
    }

    fn authorities(&self) -> Authorities {
        Authorities::from_pem(&pem("ca.pem", &self.0.pem())).unwrap()
    }

    /// Makes a certificate and its key.
    fn make(&self, name: &str, wish: &Wish) -> (Pem, Pem) {
        let key = KeyPair::generate().unwrap();
        let certificate = params(name, wish).signed_by(&key, &self.0).unwrap();
        (pem("cert.pem", &certificate.pem()), pem("key.pem", &key.serialize_pem()))
    }

    /// Makes an identity. The certificate must be valid today.
    fn identity(&self, name: &str, wish: &Wish) -> Identity {
        let (certificate, key) = self.make(name, wish);
        Identity::from_pem(&certificate, &key).unwrap()
    }
}

fn params(name: &str, wish: &Wish) -> CertificateParams {
    let hosts: Vec<String> = wish.hosts.iter().map(ToString::to_string).collect();
    let mut params = CertificateParams::new(hosts).unwrap();
    params.distinguished_name.push(DnType::CommonName, name);
    params.not_before = OffsetDateTime::now_utc() + Duration::days(wish.days.start);
    params.not_after = OffsetDateTime::now_utc() + Duration::days(wish.days.end);
    params.extended_key_usages = vec![wish.purpose.clone()];
    params
}

fn pem(name: &str, text: &str) -> Pem {
    Pem { name: name.to_owned(), bytes: text.as_bytes().to_vec() }
}

fn run() -> Run {
    Run::new(&[20, 12, 4], 110, 16, 2)
}

async fn serve(run: &Run, security: ServerSecurity) -> Served {
    let cluster = Cluster { min_workers: 1, ..Cluster::default() };
    run.serve_behind(cluster, Clock::new(), None, (security, DoorLimits::default())).await
}

fn mutual(authority: &Authority) -> ServerSecurity {
    let identity = authority.identity("coordinator", &SERVER);
    ServerSecurity::default().with_tls(identity, Some(&authority.authorities()), true).unwrap()
}

/// The fate of a worker that was never admitted before.
async fn fate(url: &str, security: ClientSecurity) -> Result<WorkerEnd, ConnectError> {
    let mut options = options(url);
    options.dial.security = security;
    match within(nn_net::work(options, |_| {}, std::future::pending())).await {
        Ok(end) => Ok(end),
        Err(WorkerError::Connect { error }) => Err(error),
        Err(other) => panic!("{other}"),
    }
}

/// The coordinator's sentences about the clients that it refused.
async fn refusals(served: &Served) -> String {
    for _ in 0..200 {
        let refusals = served.handle.take_refusals();
        if !refusals.is_empty() {
            return refusals.iter().map(|refusal| format!("{refusal}\n")).collect();
        }
        tokio::time::sleep(std::time::Duration::from_millis(10)).await;
    }
    panic!("no client was refused");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn workers_with_valid_certificates_train_to_the_same_bits() {
    let (run, authority) = (run(), Authority::new("good"));
    // The run waits for both, so that neither comes after its end.
    let cluster = Cluster { min_workers: 2, ..Cluster::default() };
    let behind = (mutual(&authority), DoorLimits::default());
    let served = run.serve_behind(cluster, Clock::new(), None, behind).await;
    let workers: Vec<_> = ["alice", "bob"]
        .map(|name| {
            let mut options = served.options();
            let identity = authority.identity(name, &CLIENT);
            let security = ClientSecurity::default().with_tls(authority.authorities(), Some(identity));
            options.dial.security = security.unwrap();
            options.name = "box".to_owned();
            worker(options)
        })
        .into();
    assert_eq!(within(served.finish()).await, (Outcome::Complete, run.expected()));
    for worker in workers {
        assert!(matches!(within(worker).await.unwrap(), Ok(WorkerEnd::RunOver(_))));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_worker_is_named_by_its_certificate() {
    let (run, authority) = (Run::new(&[20, 12, 4], 110, 16, 2), Authority::new("good"));
    let cluster = Cluster { min_workers: 2, ..Cluster::default() };
    let behind = (mutual(&authority), DoorLimits::default());
    let served = run.serve_behind(cluster, Clock::new(), None, behind).await;
    let identity = || authority.identity("alice", &CLIENT);
    let security =
        |identity| ClientSecurity::default().with_tls(authority.authorities(), Some(identity)).unwrap();
    let mut options = served.options();
    options.dial.security = security(identity());
    options.name = "mallory".to_owned();
    let working = worker(options);
    let dial = DialOptions { security: security(identity()), ..DialOptions::default() };
    let seen = loop {
        let status = status(&served.url, &dial).await.unwrap();
        if let Some(worker) = status.workers.into_iter().next() {
            break worker;
        }
    };
    assert_eq!((seen.name.as_str(), seen.certificate.as_str()), ("mallory (alice)", "alice"));
    working.abort();
    within(served.stop_and_finish()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn both_sides_explain_an_invalid_worker_certificate() {
    let (run, authority, other) = (run(), Authority::new("good"), Authority::new("other"));
    let of_the_same_name = Authority::new("good");
    let served = serve(&run, mutual(&authority)).await;
    let trusting = |identity| ClientSecurity::default().with_tls(authority.authorities(), identity).unwrap();
    let self_made = {
        let key = KeyPair::generate().unwrap();
        let certificate = params("alice", &CLIENT).self_signed(&key).unwrap();
        Identity::from_pem(&pem("c", &certificate.pem()), &pem("k", &key.serialize_pem())).unwrap()
    };
    for (identity, told, seen) in [
        (None, "none was shown", "showed no certificate"),
        (Some(other.identity("alice", &CLIENT)), "the authority", "did not sign"),
        (Some(of_the_same_name.identity("alice", &CLIENT)), "does not accept", "did not sign"),
        (Some(self_made), "the authority", "did not sign"),
        (Some(authority.identity("coordinator", &SERVER)), "does not accept", "not a worker's"),
    ] {
        let error = fate(&served.url, trusting(identity)).await.unwrap_err();
        assert!(matches!(error, ConnectError::CertificateRefused { .. }), "{seen}: {error:?}");
        assert!(error.to_string().contains(told), "{told}: {error}");
        let refusals = refusals(&served).await;
        assert!(refusals.contains(seen) && refusals.contains("127.0.0.1"), "{seen}: {refusals}");
    }
    // Such clients are not told the status either.
    let error =
        status(&served.url, &DialOptions { security: trusting(None), ..DialOptions::default() }).await;
    assert!(matches!(error, Err(ConnectError::CertificateRefused { .. })), "{error:?}");
    within(served.stop_and_finish()).await;
}

/// The side that has an expired certificate refuses it. (Clocks differ, so the other side checks, too.)
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn expired_certificates_are_refused_by_their_owner() {
    let authority = Authority::new("good");
    for (days, words) in [(-20..-1, "expired on"), (1..20, "is valid only from")] {
        let (certificate, key) = authority.make("alice", &Wish { days, ..CLIENT });
        let error = Identity::from_pem(&certificate, &key).unwrap_err();
        assert!(matches!(error, SecurityError::Dates { .. }), "{error:?}");
        assert!(error.to_string().contains(words) && error.to_string().contains("cert.pem"), "{error}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn both_sides_explain_an_invalid_coordinator_certificate() {
    let (run, authority, other) = (run(), Authority::new("good"), Authority::new("other"));
    let trusting = ClientSecurity::default().with_tls(authority.authorities(), None).unwrap();
    let elsewhere = Wish { hosts: &["elsewhere.lan", "10.9.8.7"], ..SERVER };
    for (identity, told, seen) in [
        (other.identity("coordinator", &SERVER), "none of the authorities", "does not trust the authority"),
        (
            authority.identity("c", &elsewhere),
            "it is for elsewhere.lan, 10.9.8.7, not for 127.0.0.1",
            "another host",
        ),
        (authority.identity("alice", &Wish { hosts: SERVER.hosts, ..CLIENT }), "not a coordinator's", ""),
    ] {
        let served = serve(&run, ServerSecurity::default().with_tls(identity, None, false).unwrap()).await;
        let error = fate(&served.url, trusting.clone()).await.unwrap_err();
        assert!(matches!(error, ConnectError::Untrusted { .. }), "{told}: {error:?}");
        assert!(error.to_string().contains(told), "{told}: {error}");
        let refusals = refusals(&served).await;
        assert!(refusals.contains(seen), "{seen}: {refusals}");
        within(served.stop_and_finish()).await;
    }
    // With an expected name, the address does not matter.
    let served = serve(
        &run,
        ServerSecurity::default().with_tls(authority.identity("c", &elsewhere), None, false).unwrap(),
    )
    .await;
    let named = trusting.with_name("elsewhere.lan").unwrap();
    assert!(matches!(fate(&served.url, named).await, Ok(WorkerEnd::RunOver(_))));
    assert_eq!(within(served.finish()).await, (Outcome::Complete, run.expected()));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tls_on_one_side_only_is_explained() {
    let (run, authority) = (run(), Authority::new("good"));
    let trusting = ClientSecurity::default().with_tls(authority.authorities(), None).unwrap();
    let served = serve(&run, ServerSecurity::default()).await;
    let error = fate(&served.url.replace("http:", "https:"), trusting).await.unwrap_err();
    assert!(matches!(error, ConnectError::NotTls { .. }), "{error:?}");
    within(served.stop_and_finish()).await;

    let served = serve(&run, mutual(&authority)).await;
    let error = fate(&served.url.replace("https:", "http:"), ClientSecurity::default()).await.unwrap_err();
    assert!(matches!(error, ConnectError::NeedsTls { .. }), "{error:?}");
    let refusals = refusals(&served).await;
    assert!(refusals.contains("does not speak TLS"), "{refusals}");
    within(served.stop_and_finish()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_token_admits_workers() {
    let run = run();
    let token = || Token::parse("open-sesame-open-sesame").unwrap();
    let served = serve(&run, ServerSecurity::default().with_token(token())).await;
    for (shown, told, seen) in [
        (None, "a token is required", "showed no token"),
        (Some("open-sesame-open-sesamE"), "not the run's", "not this run's"),
    ] {
        let mut security = ClientSecurity::default();
        if let Some(shown) = shown {
            security = security.with_token(Token::parse(shown).unwrap());
        }
        let dial = DialOptions { security: security.clone(), ..DialOptions::default() };
        for error in
            [fate(&served.url, security).await.unwrap_err(), status(&served.url, &dial).await.unwrap_err()]
        {
            assert!(matches!(error, ConnectError::TokenRefused { .. }), "{error:?}");
            assert!(error.to_string().contains(told), "{error}");
        }
        let refusals = refusals(&served).await;
        assert!(refusals.contains(seen) && !refusals.contains("sesame"), "{refusals}");
    }
    let good = ClientSecurity::default().with_token(token());
    let dial = DialOptions { security: good.clone(), ..DialOptions::default() };
    let told = within(async {
        loop {
            let told = status(&served.url, &dial).await.unwrap();
            if told.connections_refused >= 4 {
                break told;
            }
        }
    })
    .await;
    assert!(
        !format!("{told:?} {good:?} {:?}", served.handle).contains("sesame"),
        "printing does not reveal a secret"
    );
    assert!(matches!(fate(&served.url, good).await, Ok(WorkerEnd::RunOver(_))));
    assert_eq!(within(served.finish()).await, (Outcome::Complete, run.expected()));
}

/// If both are required, one of them is not enough.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_certificate_does_not_replace_a_token() {
    let (run, authority) = (run(), Authority::new("good"));
    let token = Token::parse("open-sesame-open-sesame").unwrap();
    let served = serve(&run, mutual(&authority).with_token(token.clone())).await;
    let identity = || Some(authority.identity("alice", &CLIENT));
    let certified = |identity| ClientSecurity::default().with_tls(authority.authorities(), identity).unwrap();
    let error = fate(&served.url, certified(identity())).await.unwrap_err();
    assert!(matches!(error, ConnectError::TokenRefused { .. }), "{error:?}");
    let error = fate(&served.url, certified(None).with_token(token.clone())).await.unwrap_err();
    assert!(matches!(error, ConnectError::CertificateRefused { .. }), "{error:?}");
    assert!(matches!(
        fate(&served.url, certified(identity()).with_token(token)).await,
        Ok(WorkerEnd::RunOver(_))
    ));
    assert_eq!(within(served.finish()).await, (Outcome::Complete, run.expected()));
}

/// A worker that was admitted before keeps dialling a coordinator that it does not trust now: the mistake may be corrected.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_worker_that_was_admitted_before_does_not_give_up() {
    let (run, authority, other) =
        (Run::new(&[20, 12, 4], 110, 16, 400), Authority::new("a"), Authority::new("b"));
    let first = serve(&run, mutual(&authority)).await;
    let address = first.url.trim_start_matches("https://").parse().unwrap();
    let mut options = first.options();
    let identity = authority.identity("alice", &CLIENT);
    options.dial.security =
        ClientSecurity::default().with_tls(authority.authorities(), Some(identity)).unwrap();
    options.stay = true;
    let working = worker(options);
    while first.handle.status().step == 0 {
        tokio::time::sleep(std::time::Duration::from_millis(5)).await;
    }
    within(first.stop_and_finish()).await;
    // Another coordinator answers for a while, and then the right one again.
    let cluster = Cluster { min_workers: 1, ..Cluster::default() };
    let wrong = (mutual(&other), DoorLimits::default());
    let wrong = run.serve_behind(cluster.clone(), Clock::new(), Some(address), wrong).await;
    let refused = refusals(&wrong).await;
    assert!(refused.contains("does not trust"), "{refused}");
    within(wrong.stop_and_finish()).await;
    assert!(!working.is_finished());
    let behind = (mutual(&authority), DoorLimits::default());
    let last = run.serve_behind(cluster, Clock::new(), Some(address), behind).await;
    assert_eq!(within(last.finish()).await, (Outcome::Complete, run.expected()));
    working.abort();
}

#[test]
fn errors_in_certificates_and_keys_name_the_file() {
    let authority = Authority::new("good");
    let (certificate, key) = authority.make("alice", &CLIENT);
    let (_, other_key) = authority.make("bob", &CLIENT);
    let none = pem("x.pem", "nothing");
    let half = pem("x.pem", &String::from_utf8_lossy(&certificate.bytes)[..200]);
    let encrypted =
        pem("x.pem", "-----BEGIN ENCRYPTED PRIVATE KEY-----\nAAAA\n-----END ENCRYPTED PRIVATE KEY-----\n");
    let not_der = pem("x.pem", "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n");
    for (certificate, key, words) in [
        (&none, &key, "no PEM certificate"),
        (&half, &key, "x.pem"),
        (&key, &key, "holds a key instead"),
        (&not_der, &key, "cannot be used"),
        (&certificate, &none, "no PEM key"),
        (&certificate, &certificate, "holds a certificate instead"),
        (&certificate, &encrypted, "encrypted"),
    ] {
        let error = Identity::from_pem(certificate, key).unwrap_err().to_string();
        assert!(error.contains(words), "{words}: {error}");
    }
    let mixed = Identity::from_pem(&certificate, &other_key).unwrap();
    let error = ClientSecurity::default().with_tls(authority.authorities(), Some(mixed)).unwrap_err();
    assert!(matches!(error, SecurityError::KeyOfAnother { .. }), "{error:?}");
    assert!(Authorities::from_pem(&none).is_err() && Authorities::from_pem(&not_der).is_err());
    assert!(!format!("{key:?}").contains("PRIVATE"), "printing does not reveal a key");
}
