//! Which boxes the command accepts, and which clients the box does, in real handshakes.

use std::sync::Arc;

use crate::support::{BOX_NAME, BoxKeys, DAY_MS, NOW, Served, authority, json, pair, problem, reply, rng, serve};
use holdfast_api::{ProblemId, Role};
use holdfast_provisioning::authority::Authority;
use holdfast_provisioning::client::{Client, ClientError};
use holdfast_provisioning::tls::{
    BoxClock, BoxJudge, ClientJudge, Expected, Refusal, Revocations, Seen, TlsKey, client_config, server_config,
};
use holdfast_types::{BoxName, Millis, P256Public};
use p256::pkcs8::{EncodePrivateKey, LineEnding};
use rcgen::{CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, KeyPair};
use rustls_pki_types::CertificateDer;

const YEAR_MS: u64 = 365 * DAY_MS;

/// An owned box, its authority, and a client's key.
struct Scene {
    authority: Authority,
    keys: BoxKeys,
    client_key: TlsKey,
    revocations: Arc<Revocations>,
}

impl Scene {
    fn new() -> Self {
        let revocations = Arc::new(Revocations::default());
        Self { authority: authority(1), keys: BoxKeys::new(2), client_key: TlsKey::random(&mut rng(3)), revocations }
    }

    fn judge(&self, clock: BoxClock) -> Arc<ClientJudge> {
        let authority = self.authority.certificate().clone();
        Arc::new(ClientJudge::new(authority, Arc::clone(&self.revocations), move || clock).unwrap())
    }

    /// A box whose answer is who the client is; the judge is asked at each request.
    async fn serve(&self, chain: Vec<CertificateDer<'static>>, clock: BoxClock) -> Served {
        let judge = self.judge(clock);
        let config = server_config(&self.keys.tls_key, chain, Some(Arc::clone(&judge))).unwrap();
        serve(config, move |peer, _| {
            let admitted = peer.certificate.map(|shown| judge.admit(&shown));
            async move {
                match admitted {
                    None => problem(ProblemId::Unauthenticated),
                    Some(Err(Refusal::Revoked)) => problem(ProblemId::CertificateRevoked),
                    Some(Err(other)) => reply(500, "text/plain", other.to_string()),
                    Some(Ok(client)) => json(&(client.name, client.role)),
                }
            }
        })
        .await
    }

    async fn serve_now(&self) -> Served {
        let chain = self.keys.chain(&self.authority, Millis(NOW.0 - DAY_MS), NOW.plus(7 * DAY_MS));
        self.serve(chain, BoxClock::Synchronised(NOW)).await
    }

    fn certificate(&self, role: Role, at: Millis) -> CertificateDer<'static> {
        self.authority.issue_client("anna", role, &self.client_key.public(), at, &mut rng(5)).unwrap()
    }

    fn expected(&self) -> Expected {
        Expected { name: Some(BOX_NAME), key: Some(self.keys.box_key.public()) }
    }

    fn box_judge(&self, expected: Expected, now: Millis) -> Arc<BoxJudge> {
        Arc::new(BoxJudge::new(self.authority.certificate().clone(), expected, move || now).unwrap())
    }

    /// Asks the box who we are, with this certificate.
    async fn ask(
        &self,
        served: &Served,
        judge: Arc<BoxJudge>,
        shown: Option<CertificateDer<'static>>,
    ) -> Result<(String, Role), ClientError> {
        self.client(served, judge, shown).get("/v1/version").await
    }

    fn client(&self, served: &Served, judge: Arc<BoxJudge>, shown: Option<CertificateDer<'static>>) -> Client {
        let identity = shown.map(|certificate| (&self.client_key, certificate));
        Client::new(served.target(), client_config(judge, identity).unwrap())
    }

    /// As [`Self::ask`], of the right box at the right time.
    async fn ask_with(&self, served: &Served, shown: CertificateDer<'static>) -> Result<(String, Role), ClientError> {
        self.ask(served, self.box_judge(self.expected(), NOW), Some(shown)).await
    }

    /// What a box of this chain is to who expects this.
    async fn seen(
        &self,
        chain: Vec<CertificateDer<'static>>,
        expected: Expected,
        now: Millis,
    ) -> Result<Seen, ClientError> {
        let served = self.serve(chain, BoxClock::Synchronised(NOW)).await;
        let judge = self.box_judge(expected, now);
        self.ask(&served, Arc::clone(&judge), Some(self.certificate(Role::Admin, NOW))).await?;
        Ok(judge.seen().unwrap())
    }
}

#[track_caller]
fn assert_refused(asked: Result<(String, Role), ClientError>, expected: &str) {
    match asked.unwrap_err() {
        ClientError::CertificateRefused { reason, .. } => assert_eq!(reason, expected),
        other => panic!("{other:?}"),
    }
}

#[track_caller]
fn assert_wrong(seen: Result<Seen, ClientError>, expected: &str) {
    match seen.unwrap_err() {
        ClientError::WrongBox { reason, .. } => assert!(reason.contains(expected), "{reason}"),
        other => panic!("{other:?}"),
    }
}

const EXPIRED: &str = "it has expired, or does not count yet by the box's clock";
const FOREIGN: &str = "it is not by the box's authority";
const KIND: &str = "it is of the wrong kind";

#[tokio::test]
async fn each_role_comes_in_as_itself() {
    let scene = Scene::new();
    let served = scene.serve_now().await;
    for role in Role::ALL {
        let asked = scene.ask_with(&served, scene.certificate(role, NOW)).await;
        assert_eq!(asked.unwrap(), ("anna".to_owned(), role));
    }
}

#[tokio::test]
async fn who_shows_no_certificate_is_told_what_is_missing() {
    let scene = Scene::new();
    let served = scene.serve_now().await;
    let asked = scene.ask(&served, scene.box_judge(scene.expected(), NOW), None).await.unwrap_err();
    assert_eq!(asked.problem().unwrap().id(), Some(ProblemId::Unauthenticated));
}

#[tokio::test]
async fn a_certificate_of_another_authority_or_of_ones_own_is_refused() {
    let scene = Scene::new();
    let served = scene.serve_now().await;
    let other = authority(77).issue_client("anna", Role::Admin, &scene.client_key.public(), NOW, &mut rng(5)).unwrap();
    assert_refused(scene.ask_with(&served, other).await, FOREIGN);
    assert_refused(scene.ask_with(&served, scene.client_key.self_signed().unwrap()).await, FOREIGN);
}

/// The authority allows the box key to sign. A box that was broken into must not make itself an admin of the others.
#[tokio::test]
async fn a_client_that_the_box_key_made_is_refused_with_its_chain_too() {
    let scene = Scene::new();
    let served = scene.serve_now().await;
    let forged =
        BoxKeys { box_key: TlsKey::from_pem(&scene.keys.box_key.to_pem().unwrap()).unwrap(), ..BoxKeys::new(8) };
    let forged_leaf = forged.leaf(Millis(NOW.0 - DAY_MS), NOW.plus(DAY_MS), |leaf| {
        leaf.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        leaf.distinguished_name.push(DnType::OrganizationalUnitName, "admin");
    });
    let mut chain = forged.chain(&scene.authority, NOW, NOW.plus(DAY_MS));
    chain[0] = forged_leaf;
    let mut config = rustls::ClientConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
        .with_protocol_versions(&[&rustls::version::TLS13])
        .unwrap()
        .dangerous()
        .with_custom_certificate_verifier(scene.box_judge(scene.expected(), NOW))
        .with_client_auth_cert(
            chain,
            rustls_pki_types::PrivateKeyDer::try_from(pair(&forged.tls_key).serialize_der()).unwrap(),
        )
        .unwrap();
    config.enable_sni = false;
    let asked = Client::new(served.target(), Arc::new(config)).get("/v1/version").await;
    assert_refused(asked, FOREIGN);
}

#[tokio::test]
async fn a_certificate_counts_in_its_time_only() {
    let scene = Scene::new();
    let served = scene.serve_now().await;
    for at in [Millis(NOW.0 - 91 * DAY_MS), NOW.plus(2 * DAY_MS)] {
        assert_refused(scene.ask_with(&served, scene.certificate(Role::Admin, at)).await, EXPIRED);
    }
    scene.ask_with(&served, scene.certificate(Role::Admin, Millis(NOW.0 - 89 * DAY_MS))).await.unwrap();
}

#[tokio::test]
async fn a_revoked_certificate_is_refused_on_open_connections_as_well() {
    let scene = Scene::new();
    let served = scene.serve_now().await;
    let certificate = scene.certificate(Role::Admin, NOW);
    let open = scene.client(&served, scene.box_judge(scene.expected(), NOW), Some(certificate.clone()));
    let _: (String, Role) = open.get("/v1/version").await.unwrap();
    let serial = holdfast_provisioning::certificate::parse_client(&certificate).unwrap().serial;
    scene.revocations.revoke(serial);
    let refused = open.get::<(String, Role)>("/v1/version").await.unwrap_err();
    assert_eq!(refused.problem().unwrap().id(), Some(ProblemId::CertificateRevoked));
    assert_refused(scene.ask_with(&served, certificate).await, "it was revoked");
}

#[tokio::test]
async fn the_certificate_of_a_box_or_of_an_authority_is_no_clients() {
    let scene = Scene::new();
    let served = scene.serve_now().await;
    // For the client's own key, since TLS wants a signature by it.
    let of_box = scene.authority.issue_box(&BOX_NAME, &scene.client_key.public(), NOW, &mut rng(5)).unwrap();
    assert_refused(scene.ask_with(&served, of_box).await, KIND);
}

#[test]
fn before_the_clock_is_set_dates_are_judged_within_the_life_of_the_image() {
    let scene = Scene::new();
    let judge = |built| scene.judge(BoxClock::Unsynchronised { built });
    let certificate = scene.certificate(Role::Admin, NOW);
    for built in [NOW, NOW.plus(90 * DAY_MS), Millis(NOW.0 - 9 * YEAR_MS)] {
        assert_eq!(judge(built).admit(&certificate).unwrap().role, Role::Admin, "built {built}");
    }
    assert!(matches!(judge(NOW.plus(91 * DAY_MS)).admit(&certificate), Err(Refusal::Expired)));
    assert!(matches!(judge(Millis(NOW.0 - 11 * YEAR_MS)).admit(&certificate), Err(Refusal::NotYet)));
    // All else is judged as ever.
    let other = authority(77).issue_client("anna", Role::Admin, &scene.client_key.public(), NOW, &mut rng(5)).unwrap();
    assert!(matches!(judge(NOW).admit(&other), Err(Refusal::NotOurs)));
}

#[tokio::test]
async fn a_box_is_known_by_its_chain_and_its_clock_is_told() {
    let scene = Scene::new();
    let week = |from: Millis| scene.keys.chain(&scene.authority, from, from.plus(8 * DAY_MS));
    let seen = scene.seen(week(NOW), scene.expected(), NOW).await.unwrap();
    assert_eq!((seen.identity.key, seen.clock_disagrees), (scene.keys.box_key.public(), false));
    assert_eq!(seen.identity.common_name, "holdfast box 7f7f7f7f");
    for from in [Millis(0), Millis(NOW.0 - YEAR_MS), NOW.plus(YEAR_MS)] {
        let seen = scene.seen(week(from), Expected::default(), NOW).await.unwrap();
        assert_eq!((seen.leaf.from, seen.clock_disagrees), (from, true));
    }
}

/// A leaf as the vault itself made it, with the box key `01…01`, for the TLS key `02…02`.
#[tokio::test]
async fn a_leaf_of_the_vault_chains_to_the_certificate_of_its_box() {
    let scene = Scene { keys: BoxKeys { box_key: of_secret(1), tls_key: of_secret(2) }, ..Scene::new() };
    let (name, key) = (BoxName([0xab; 32]), scene.keys.box_key.public());
    let of_box = scene.authority.issue_box(&name, &key, NOW, &mut rng(9)).unwrap();
    let chain = vec![hex::decode(LEAF_OF_THE_VAULT).unwrap().into(), of_box];
    let seen = scene.seen(chain, Expected { name: Some(name), key: Some(key) }, NOW).await.unwrap();
    assert!(!seen.clock_disagrees);
}

fn of_secret(byte: u8) -> TlsKey {
    let secret = p256::SecretKey::from_slice(&[byte; 32]).unwrap();
    TlsKey::from_pem(&secret.to_pkcs8_pem(LineEnding::LF).unwrap()).unwrap()
}

#[tokio::test]
async fn another_box_is_noticed() {
    let scene = Scene::new();
    let chain = || scene.keys.chain(&scene.authority, NOW, NOW.plus(DAY_MS));
    let name = Expected { name: Some(BoxName([1; 32])), key: None };
    assert_wrong(scene.seen(chain(), name, NOW).await, "another box of your authority");
    let key = Expected { name: None, key: Some(P256Public([2; 33])) };
    assert_wrong(scene.seen(chain(), key, NOW).await, "another key than at the pairing");
    let others = scene.keys.chain(&authority(77), NOW, NOW.plus(DAY_MS));
    assert_wrong(scene.seen(others, scene.expected(), NOW).await, "your authority does not know it");
    assert_wrong(scene.seen(chain(), scene.expected(), NOW.plus(11 * YEAR_MS)).await, "has expired");
}

#[tokio::test]
async fn a_chain_of_another_form_is_refused() {
    let scene = Scene::new();
    let whole = scene.keys.chain(&scene.authority, NOW, NOW.plus(DAY_MS));
    let alone = vec![whole[0].clone()];
    let twice = vec![whole[0].clone(), whole[1].clone(), whole[1].clone()];
    let own = vec![scene.keys.tls_key.self_signed().unwrap(), whole[1].clone()];
    let for_clients = scene
        .keys
        .leaf(NOW, NOW.plus(DAY_MS), |leaf| leaf.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth]);
    // By the authority itself, for the key with which the box serves.
    let public = scene.keys.tls_key.public();
    let client = scene.authority.issue_client("anna", Role::Admin, &public, NOW, &mut rng(5)).unwrap();
    let served_by_authority = leaf_by_authority(&scene);
    for leaf in [for_clients, client, served_by_authority] {
        let chain = vec![leaf, whole[1].clone()];
        assert_wrong(scene.seen(chain, scene.expected(), NOW).await, "your authority does not know it");
    }
    for chain in [alone, twice, own] {
        assert_wrong(scene.seen(chain, scene.expected(), NOW).await, "your authority does not know it");
    }
}

/// One that the authority never makes: for the box's TLS key, good for a server, without the box key in between.
fn leaf_by_authority(scene: &Scene) -> CertificateDer<'static> {
    let key = KeyPair::from_pem(&scene.authority.danger_plain_pem().unwrap()).unwrap();
    let mut issuer = CertificateParams::default();
    issuer.distinguished_name = DistinguishedName::new();
    issuer.distinguished_name.push(DnType::CommonName, format!("holdfast authority {}", scene.authority.id()));
    let issuer = issuer.self_signed(&key).unwrap();
    let mut leaf = CertificateParams::default();
    leaf.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    leaf.signed_by(&pair(&scene.keys.tls_key), &issuer, &key).unwrap().der().clone()
}

const LEAF_OF_THE_VAULT: &str = "308201d330820179a00302010202105bfd1d9d5c29ebcdc602a145ca0342eb300a06082a8648ce3d0403023020311e301c0603550403\
     0c15686f6c646661737420626f78206162616261626162301e170d3236313132363036303030305a170d323631323034303630303030\
     5a3020311e301c06035504030c15686f6c646661737420626f782061626162616261623059301306072a8648ce3d020106082a8648ce\
     3d03010703420004550f471003f3df97c3df506ac797f6721fb1a1fb7b8f6f83d224498a65c88e24136093d7012e509a73715cbd0b00\
     a3cc0ff4b5c01b3ffa196ab1fb327036b8e6a38194308191300c0603551d130101ff04023000300e0603551d0f0101ff040403020780\
     30160603551d250101ff040c300a06082b0601050507030130190603551d1104123010820e626f782d616261622e6c6f63616c301d06\
     03551d0e04160414fe00ab0f341901f863a49160cf554588d6928282301f0603551d23041830168014256b1be32745d1d1c9d49121cc\
     87bc451c4f2dfa300a06082a8648ce3d0403020348003045022100f64a5594c40c6a05eeaec5a2fdc8803fde0a923b7984a3a86a5de8\
     3dd5ed6d82022038f2ab880dfbbafd6442ce0d62e268182e11fd9551cc81459f674f13e1281d9f";
