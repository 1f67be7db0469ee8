//! A server that signs its calls, in strings that are put together here by hand: as Nextcloud 32 does (draft-cavage, RSA), or as later ones do
//! (RFC 9421, ES256). It publishes its keys, takes what it is sent, and looks at the signatures of that.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, OnceLock};

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use bytes::Bytes;
use http::{HeaderMap, Request, Response};
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use ring::rand::SystemRandom;
use ring::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair as _, RSA_PKCS1_SHA512, RsaKeyPair};
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256, Sha512};
use tokio::net::TcpListener;
use tokio::task::JoinSet;

use super::server::{Answer, TestServer};

/// How it signs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// draft-cavage with RSA.
    Cavage,
    /// RFC 9421 with P-256.
    Message,
}

/// The keys of a server.
struct Keys {
    rsa: RsaKeyPair,
    p256: EcdsaKeyPair,
}

impl Keys {
    fn of(text: &str) -> Keys {
        let kept: Value = serde_json::from_str(text).unwrap();
        let der = |name: &str| STANDARD.decode(kept[name].as_str().unwrap()).unwrap();
        let random = SystemRandom::new();
        let p256 = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &der("p256"), &random).unwrap();
        Keys { rsa: RsaKeyPair::from_der(&der("rsa")).unwrap(), p256 }
    }
}

/// Two sets of keys, made once for all tests.
fn made() -> &'static [String; 2] {
    static MADE: OnceLock<[String; 2]> = OnceLock::new();
    MADE.get_or_init(|| [(), ()].map(|()| causeway::remote::Keys::make().unwrap()))
}

/// A call that it was sent.
#[derive(Debug, Clone)]
pub(crate) struct Call {
    pub(crate) path: String,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
}

impl Call {
    pub(crate) fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().unwrap())
    }
}

/// A server that signs.
pub(crate) struct Signer {
    shared: Arc<Shared>,
    _tasks: JoinSet<()>,
}

struct Shared {
    kind: Kind,
    address: SocketAddr,
    keys: Mutex<Keys>,
    calls: Mutex<Vec<Call>>,
    asked: Mutex<usize>,
    /// What the names of its keys begin with.
    names: Mutex<&'static str>,
    /// What is answered with 500.
    broken: Mutex<&'static str>,
}

/// A folder of every signer that a stranger may write into: keys lie there by the names of its own.
pub(crate) const FOLDER: &str = "/public/T";

/// A call that it is about to send: what is signed, and what is sent.
#[derive(Clone)]
pub(crate) struct Draft {
    pub(crate) key_id: String,
    pub(crate) at: i64,
    pub(crate) host: String,
    pub(crate) path: String,
    pub(crate) body: String,
    pub(crate) sent_path: String,
    pub(crate) sent_body: String,
}

impl Signer {
    /// Serves on a free port of loopback.
    pub(crate) async fn start(kind: Kind) -> Signer {
        let keys = tokio::task::spawn_blocking(|| Keys::of(&made()[0])).await.unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let shared = Shared {
            kind,
            address,
            keys: Mutex::new(keys),
            calls: Mutex::default(),
            asked: Mutex::default(),
            names: Mutex::default(),
            broken: Mutex::default(),
        };
        let shared = Arc::new(shared);
        let serving = Arc::clone(&shared);
        let mut tasks = JoinSet::new();
        tasks.spawn(async move {
            let mut connections = JoinSet::new();
            while let Ok((stream, _)) = listener.accept().await {
                let shared = Arc::clone(&serving);
                connections.spawn(async move {
                    let service = service_fn(move |request| {
                        let shared = Arc::clone(&shared);
                        async move { Ok::<_, std::convert::Infallible>(shared.answer(request).await) }
                    });
                    hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), service).await.ok();
                });
            }
        });
        Signer { shared, _tasks: tasks }
    }

    /// `host:port`.
    pub(crate) fn host(&self) -> String {
        self.shared.address.to_string()
    }

    /// Signs with other keys from now on, and publishes those.
    pub(crate) fn change_keys(&self) {
        *self.shared.keys.lock().unwrap() = Keys::of(&made()[1]);
    }

    /// Gives its keys other names, and publishes them by those.
    pub(crate) fn rename_keys(&self) {
        *self.shared.names.lock().unwrap() = "new-";
    }

    /// Answers a path with 500 from now on.
    pub(crate) fn break_at(&self, path: &'static str) {
        *self.shared.broken.lock().unwrap() = path;
    }

    /// How often its keys were asked for.
    pub(crate) fn keys_asked(&self) -> usize {
        *self.shared.asked.lock().unwrap()
    }

    /// What it was sent.
    pub(crate) fn calls(&self) -> Vec<Call> {
        self.shared.calls.lock().unwrap().clone()
    }

    /// A call to a server, as it should be.
    pub(crate) fn draft(&self, server: &TestServer, path: &str, body: &Value) -> Draft {
        let (path, body) = (path.to_owned(), body.to_string());
        Draft {
            key_id: self.shared.key_id(),
            at: server.clock().now(),
            host: server.host(),
            sent_path: path.clone(),
            path,
            sent_body: body.clone(),
            body,
        }
    }

    /// Signs a call and sends it.
    pub(crate) async fn post(&self, server: &TestServer, path: &str, body: &Value) -> Answer {
        self.send(server, &self.draft(server, path, body)).await
    }

    /// Signs and sends a draft.
    pub(crate) async fn send(&self, server: &TestServer, draft: &Draft) -> Answer {
        let headers = self.headers(draft);
        send_as_is(server, draft, &headers).await
    }

    /// The same headers with the other signature by P-256 that fits as well.
    pub(crate) fn headers_rewritten(&self, headers: &[(&'static str, String)]) -> Vec<(&'static str, String)> {
        let mut headers = headers.to_vec();
        let (_, value) = headers.iter_mut().find(|(name, _)| *name == "signature").unwrap();
        let signature = STANDARD.decode(value.strip_prefix("ocm=:").unwrap().strip_suffix(':').unwrap()).unwrap();
        let (r, s) = signature.split_at(32);
        *value = format!("ocm=:{}:", STANDARD.encode([r, &other_half(s)].concat()));
        headers
    }

    /// The headers of a draft.
    pub(crate) fn headers(&self, draft: &Draft) -> Vec<(&'static str, String)> {
        let date = httpdate::fmt_http_date(std::time::UNIX_EPOCH + std::time::Duration::from_secs(draft.at.try_into().unwrap()));
        let length = draft.body.len();
        let keys = self.shared.keys.lock().unwrap();
        match self.shared.kind {
            Kind::Cavage => {
                let digest = format!("SHA-512={}", STANDARD.encode(Sha512::digest(&draft.body)));
                let text = format!(
                    "(request-target): post {}\ncontent-length: {length}\ndate: {date}\ndigest: {digest}\nhost: {}",
                    draft.path, draft.host
                );
                let mut signature = vec![0; keys.rsa.public().modulus_len()];
                keys.rsa.sign(&RSA_PKCS1_SHA512, &SystemRandom::new(), text.as_bytes(), &mut signature).unwrap();
                let signature = format!(
                    "keyId=\"{}\",algorithm=\"rsa-sha512\",headers=\"(request-target) content-length date digest host\",signature=\"{}\"",
                    draft.key_id,
                    STANDARD.encode(signature)
                );
                vec![("date", date), ("digest", digest), ("signature", signature)]
            }
            Kind::Message => {
                let digest = format!("sha-256=:{}:", STANDARD.encode(Sha256::digest(&draft.body)));
                let parameters = format!(
                    "(\"@method\" \"@target-uri\" \"content-digest\" \"content-length\" \"date\");created={};keyid=\"{}\";tag=\"ocm\"",
                    draft.at, draft.key_id
                );
                let text = format!(
                    "\"@method\": POST\n\"@target-uri\": http://{}{}\n\"content-digest\": {digest}\n\"content-length\": {length}\n\
                     \"date\": {date}\n\"@signature-params\": {parameters}",
                    draft.host, draft.path
                );
                let signature = keys.p256.sign(&SystemRandom::new(), text.as_bytes()).unwrap();
                let signature = format!("ocm=:{}:", STANDARD.encode(signature.as_ref()));
                vec![("date", date), ("content-digest", digest), ("signature-input", format!("ocm={parameters}")), ("signature", signature)]
            }
        }
    }
}

/// n - s, where n is the order of P-256 (SP 800-186 3.2.1.3): as good as s in a signature.
fn other_half(s: &[u8]) -> Vec<u8> {
    const N: [u8; 32] = [
        0xff, 0xff, 0xff, 0xff, 0, 0, 0, 0, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xbc, 0xe6, 0xfa, 0xad, 0xa7, 0x17, 0x9e, 0x84,
        0xf3, 0xb9, 0xca, 0xc2, 0xfc, 0x63, 0x25, 0x51,
    ];
    let (mut difference, mut borrow) = (vec![0; 32], false);
    for at in (0..32).rev() {
        let (less, under) = N[at].overflowing_sub(s[at]);
        let (less, under_too) = less.overflowing_sub(u8::from(borrow));
        (difference[at], borrow) = (less, under || under_too);
    }
    difference
}

/// Sends a draft with these headers, whoever signed them.
pub(crate) async fn send_as_is(server: &TestServer, draft: &Draft, headers: &[(&'static str, String)]) -> Answer {
    let ask = server.ask("POST", &draft.sent_path).header("content-type", "application/json").body(&draft.sent_body);
    headers.iter().fold(ask, |ask, (name, value)| ask.header(name, value)).send().await
}

impl Shared {
    fn key_id(&self) -> String {
        let name = if self.kind == Kind::Cavage { "signature" } else { "ecdsa-p256-sha256-1" };
        format!("http://{}/ocm#{}{name}", self.address, self.names.lock().unwrap())
    }

    fn pem(keys: &Keys) -> String {
        let pkcs1 = keys.rsa.public_key().as_ref().to_vec();
        // 2048 bits: every length is of two bytes.
        let element = |tag: u8, content: &[u8]| {
            let length = u16::try_from(content.len()).unwrap().to_be_bytes();
            [&[tag, 0x82][..], &length, content].concat()
        };
        let rsa = [0x30, 0x0d, 0x06, 0x09, 0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, 0x01, 0x05, 0x00];
        let whole = element(0x30, &[&rsa[..], &element(0x03, &[&[0][..], &pkcs1].concat())].concat());
        format!("-----BEGIN PUBLIC KEY-----\n{}\n-----END PUBLIC KEY-----", STANDARD.encode(whole))
    }

    fn jwks(&self, keys: &Keys) -> Value {
        let point = keys.p256.public_key().as_ref().to_vec();
        let text = |bytes: &[u8]| URL_SAFE_NO_PAD.encode(bytes);
        json!({"keys": [{"kty": "EC", "crv": "P-256", "kid": self.key_id(), "x": text(&point[1..33]), "y": text(&point[33..])}]})
    }

    async fn answer(&self, request: Request<Incoming>) -> Response<Full<Bytes>> {
        let (parts, body) = request.into_parts();
        let body = body.collect().await.map(http_body_util::Collected::to_bytes).unwrap_or_default();
        let path = parts.uri.path().to_owned();
        let files = json!([{"name": "file", "shareTypes": ["user"], "protocols": {"webdav": "/public.php/webdav/"}}]);
        let end_point = format!("http://{}/ocm", self.address);
        let mut document = json!({"enabled": true, "version": "1.1.0", "endPoint": end_point, "resourceTypes": files});
        let below = path.strip_prefix(FOLDER).filter(|_| parts.method == "GET").map(str::to_owned);
        let (folder, others) = if below.is_some() { (FOLDER, Some(Keys::of(&made()[1]))) } else { ("", None) };
        let own = self.keys.lock().unwrap();
        let keys = others.as_ref().unwrap_or(&own);
        let path = below.unwrap_or(path);
        if !path.is_empty() && path == *self.broken.lock().unwrap() {
            return Response::builder().status(500).body(Full::default()).unwrap();
        }
        let (status, told) = match (parts.method.as_str(), path.as_str(), self.kind) {
            ("GET", "/ocm-provider/", Kind::Cavage) => {
                *self.asked.lock().unwrap() += 1;
                document["publicKey"] = json!({"keyId": self.key_id(), "publicKeyPem": Shared::pem(keys)});
                (200, document)
            }
            ("GET", "/.well-known/ocm", Kind::Message) => {
                document["capabilities"] = json!(["http-sig"]);
                document["jwksUri"] = json!(format!("http://{}{folder}/keys", self.address));
                (200, document)
            }
            ("GET", "/keys" | "/.well-known/jwks.json", Kind::Message) => {
                *self.asked.lock().unwrap() += 1;
                (200, self.jwks(keys))
            }
            ("POST", _, _) => {
                self.calls.lock().unwrap().push(Call { path, headers: parts.headers, body });
                (201, json!({}))
            }
            _ => (404, json!({})),
        };
        let response = Response::builder().status(status).header("content-type", "application/json");
        response.body(Full::new(Bytes::from(told.to_string()))).unwrap()
    }
}
