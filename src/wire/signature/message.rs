//! HTTP Message Signatures (RFC 9421) as OCM uses them: one signature with the label `ocm` or the tag `ocm`, by Ed25519 or P-256.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::HeaderMap;

use super::{Algorithm, COMPONENTS_MAX, Flaw, KEY_ID_BYTES_MAX, Signed, joined};
use crate::domain::Timestamp;

/// The label that earlier drafts know a signature by, and the tag of later ones (`protocol/ocm.md` 1.8).
const OCM: &str = "ocm";
/// Most signatures of one request, ours among them.
const SIGNATURES_MAX: usize = 8;

/// What we cover.
pub const COVERED: [&str; 5] = ["@method", "@target-uri", "content-digest", "content-length", "date"];
/// What must be covered. OCM 1.3 wants the date as well, later drafts do not.
const NEEDED: [&str; 4] = ["@method", "@target-uri", "content-digest", "content-length"];

/// The signature of a request that is OCM's.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Signature {
    /// `keyid`.
    pub key_id: String,
    /// `created`.
    pub created: Timestamp,
    /// `expires`, where it is said.
    pub expires: Option<Timestamp>,
    /// `alg`, where it is said; else it is the key's.
    pub algorithm: Option<Algorithm>,
    covered: Vec<String>,
    /// What stands behind the label, as it was sent: it is signed, too.
    parameters: String,
    /// The signature.
    pub signature: Vec<u8>,
}

impl Signature {
    /// Reads `Signature-Input` and `Signature` of a request.
    ///
    /// # Errors
    /// [`Flaw`] where there is not exactly one of OCM's, or it cannot be read, or less is covered than must be.
    pub fn parse(headers: &HeaderMap) -> Result<Signature, Flaw> {
        let input = joined(headers, "signature-input")?.ok_or(Flaw("Signature-Input is missing"))?;
        let value = joined(headers, "signature")?.ok_or(Flaw("Signature is missing"))?;
        let inputs = inputs(&input).ok_or(Flaw("Signature-Input cannot be read"))?;
        let mut of_ocm = inputs.into_iter().filter(|(label, input)| *label == OCM || input.text("tag") == Some(OCM));
        let (label, input) = of_ocm.next().ok_or(Flaw("no signature has the tag ocm"))?;
        if of_ocm.next().is_some() {
            return Err(Flaw("more than one signature has the tag ocm"));
        }
        let signature = member(&value, label).ok_or(Flaw("Signature cannot be read, or is not the one of Signature-Input"))?;
        input.check()?;
        Ok(Signature {
            key_id: input
                .text("keyid")
                .filter(|id| !id.is_empty() && id.len() <= KEY_ID_BYTES_MAX)
                .ok_or(Flaw("it names no key"))?
                .to_owned(),
            created: input.number("created").ok_or(Flaw("it does not say when it was made"))?,
            expires: input.number("expires"),
            algorithm: match input.text("alg") {
                None => None,
                Some("ed25519") => Some(Algorithm::Ed25519),
                Some("ecdsa-p256-sha256") => Some(Algorithm::EcdsaP256),
                Some(_) => return Err(Flaw("its algorithm is neither ed25519 nor ecdsa-p256-sha256")),
            },
            covered: input.components,
            parameters: input.raw.to_owned(),
            signature,
        })
    }

    /// The text that was signed, if it was this request (RFC 9421 2.5).
    ///
    /// # Errors
    /// [`Flaw`] where it covers something that is not known, or that the request does not have.
    pub fn text(&self, request: &Signed<'_>) -> Result<String, Flaw> {
        text(self.covered.iter().map(String::as_str), request, &self.parameters)
    }
}

/// The parameters of a signature of ours over [`COVERED`]: what stands behind the label in `Signature-Input`.
pub fn parameters(key_id: &str, created: Timestamp) -> String {
    let covered: Vec<String> = COVERED.iter().map(|name| format!("\"{name}\"")).collect();
    format!("({});created={created};keyid=\"{key_id}\";tag=\"{OCM}\"", covered.join(" "))
}

/// The headers `Signature-Input` and `Signature`.
pub fn headers(parameters: &str, signature: &[u8]) -> (String, String) {
    (format!("{OCM}={parameters}"), format!("{OCM}=:{}:", STANDARD.encode(signature)))
}

/// The text that is signed of a request.
///
/// # Errors
/// [`Flaw`] where something is not known, or the request does not have it.
pub fn text<'name>(covered: impl Iterator<Item = &'name str>, request: &Signed<'_>, parameters: &str) -> Result<String, Flaw> {
    let mut text = String::new();
    for name in covered {
        let value = match name {
            "@method" => request.method.to_owned(),
            "@target-uri" => [request.scheme, "://", request.host, request.path].concat(),
            "@authority" => request.host.to_ascii_lowercase(),
            "@scheme" => request.scheme.to_owned(),
            "@path" => request.path.split('?').next().unwrap_or_default().to_owned(),
            "@request-target" => request.path.to_owned(),
            _ if name.starts_with('@') => return Err(Flaw("it covers something that is not known here")),
            _ => request.header(name)?,
        };
        text.push_str(&["\"", name, "\": ", &value, "\n"].concat());
    }
    text.push_str(&["\"@signature-params\": ", parameters].concat());
    Ok(text)
}

/// A value of a parameter (RFC 8941 3.3).
#[derive(Debug, PartialEq, Eq)]
enum Bare {
    Text(String),
    Number(i64),
    /// A token, a boolean or bytes: nothing that is asked for here.
    Other,
}

/// One member of `Signature-Input`.
#[derive(Debug)]
struct Input<'text> {
    components: Vec<String>,
    /// Whether one of them has parameters of its own.
    refined: bool,
    parameters: Vec<(&'text str, Bare)>,
    raw: &'text str,
}

impl Input<'_> {
    fn text(&self, name: &str) -> Option<&str> {
        self.parameters.iter().find_map(|(known, value)| match value {
            Bare::Text(text) if *known == name => Some(text.as_str()),
            Bare::Text(_) | Bare::Number(_) | Bare::Other => None,
        })
    }

    fn number(&self, name: &str) -> Option<i64> {
        self.parameters.iter().find_map(|(known, value)| match value {
            Bare::Number(number) if *known == name => Some(*number),
            Bare::Text(_) | Bare::Number(_) | Bare::Other => None,
        })
    }

    fn check(&self) -> Result<(), Flaw> {
        let twice = |at: usize, name: &str| self.components.iter().take(at).any(|before| before == name);
        if self.refined || self.components.iter().enumerate().any(|(at, name)| twice(at, name)) {
            return Err(Flaw("it covers something twice, or a part of something"));
        }
        let names = |at: usize, name: &str| self.parameters.iter().take(at).any(|(before, _)| *before == name);
        if self.parameters.iter().enumerate().any(|(at, (name, _))| names(at, name)) {
            return Err(Flaw("it says something twice"));
        }
        if NEEDED.iter().any(|name| !self.components.iter().any(|known| known == name)) {
            return Err(Flaw("it must cover @method, @target-uri, content-digest and content-length"));
        }
        Ok(())
    }
}

/// The members of `Signature-Input` by their labels.
fn inputs(text: &str) -> Option<Vec<(&str, Input<'_>)>> {
    let mut found: Vec<(&str, Input<'_>)> = Vec::new();
    let mut rest = text.trim_matches(' ');
    loop {
        let (label, after) = key(rest)?;
        let begin = after.strip_prefix('=')?;
        let (components, refined, after) = inner_list(begin)?;
        let (parameters, after) = parameters_of(after)?;
        let raw = begin.get(..begin.len() - after.len())?;
        if found.len() >= SIGNATURES_MAX || found.iter().any(|(known, _)| *known == label) {
            return None;
        }
        found.push((label, Input { components, refined, parameters, raw }));
        rest = match after.trim_start_matches([' ', '\t']) {
            "" => return Some(found),
            more => more.strip_prefix(',')?.trim_start_matches([' ', '\t']),
        };
    }
}

/// The bytes of the member with a label in `Signature`.
fn member(text: &str, label: &str) -> Option<Vec<u8>> {
    let mut members = text.split(',').map(str::trim).filter_map(|member| member.split_once('='));
    let (_, value) = members.clone().find(|(name, _)| *name == label)?;
    if members.by_ref().filter(|(name, _)| *name == label).count() > 1 {
        return None;
    }
    STANDARD.decode(value.strip_prefix(':')?.strip_suffix(':')?).ok()
}

fn key(text: &str) -> Option<(&str, &str)> {
    let end = text.bytes().position(|byte| !(byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"_-.*".contains(&byte)));
    let (name, rest) = text.split_at_checked(end.unwrap_or(text.len()))?;
    (name.starts_with(|first: char| first.is_ascii_lowercase() || first == '*')).then_some((name, rest))
}

/// The texts of an inner list, whether one has parameters, and what follows.
fn inner_list(text: &str) -> Option<(Vec<String>, bool, &str)> {
    let (mut items, mut refined) = (Vec::new(), false);
    let mut rest = text.strip_prefix('(')?.trim_start_matches(' ');
    loop {
        if let Some(after) = rest.strip_prefix(')') {
            return Some((items, refined, after));
        }
        let (item, after) = quoted(rest)?;
        let (parameters, after) = parameters_of(after)?;
        refined |= !parameters.is_empty();
        items.push(item);
        if items.len() > COMPONENTS_MAX || !after.starts_with([' ', ')']) {
            return None;
        }
        rest = after.trim_start_matches(' ');
    }
}

fn parameters_of(text: &str) -> Option<(Vec<(&str, Bare)>, &str)> {
    let (mut found, mut rest) = (Vec::new(), text);
    while let Some(after) = rest.strip_prefix(';') {
        let (name, after) = key(after.trim_start_matches(' '))?;
        let (value, after) = match after.strip_prefix('=') {
            Some(value) => bare(value)?,
            None => (Bare::Other, after),
        };
        found.push((name, value));
        if found.len() > COMPONENTS_MAX {
            return None;
        }
        rest = after;
    }
    Some((found, rest))
}

fn bare(text: &str) -> Option<(Bare, &str)> {
    if text.starts_with('"') {
        let (value, rest) = quoted(text)?;
        return Some((Bare::Text(value), rest));
    }
    let end = text.find([';', ',', ' ', ')']).unwrap_or(text.len());
    let (value, rest) = text.split_at_checked(end)?;
    // An integer has fifteen digits at most (RFC 8941 3.3.1).
    let digits = value.strip_prefix('-').unwrap_or(value);
    let whole = !digits.is_empty() && digits.len() <= 15 && digits.bytes().all(|byte| byte.is_ascii_digit());
    let number = value.parse().ok().filter(|_| whole);
    (!value.is_empty()).then_some((number.map_or(Bare::Other, Bare::Number), rest))
}

/// A text in quotes, and what follows.
fn quoted(text: &str) -> Option<(String, &str)> {
    let (mut value, mut signs) = (String::new(), text.strip_prefix('"')?.chars());
    loop {
        match signs.next()? {
            '"' => return Some((value, signs.as_str())),
            '\\' => value.push(signs.next().filter(|sign| matches!(sign, '"' | '\\'))?),
            sign @ ' '..='~' => value.push(sign),
            _ => return None,
        }
    }
}

#[cfg(test)]
mod tests {
    use base64::engine::general_purpose::URL_SAFE_NO_PAD;

    use super::super::PublicKey;
    use super::*;

    fn map(pairs: &[(&'static str, &str)]) -> HeaderMap {
        pairs.iter().map(|(name, value)| (name.parse().unwrap(), value.parse().unwrap())).collect()
    }

    #[test]
    fn rfc9421_b_2_6_a_request_signed_by_ed25519() {
        let headers = map(&[("date", "Tue, 20 Apr 2021 02:07:55 GMT"), ("content-type", "application/json"), ("content-length", "18")]);
        let request = Signed { method: "POST", scheme: "https", host: "example.com", path: "/foo?param=Value&Pet=dog", headers: &headers };
        let parameters = "(\"date\" \"@method\" \"@path\" \"@authority\" \"content-type\" \"content-length\");created=1618884473;keyid=\"test-key-ed25519\"";
        let covered = ["date", "@method", "@path", "@authority", "content-type", "content-length"];
        let base = text(covered.into_iter(), &request, parameters).unwrap();
        let expected = "\"date\": Tue, 20 Apr 2021 02:07:55 GMT\n\"@method\": POST\n\"@path\": /foo\n\"@authority\": example.com\n\
            \"content-type\": application/json\n\"content-length\": 18\n\"@signature-params\": (\"date\" \"@method\" \"@path\" \"@authority\" \
            \"content-type\" \"content-length\");created=1618884473;keyid=\"test-key-ed25519\"";
        assert_eq!(base, expected);
        let key = PublicKey::Ed25519(URL_SAFE_NO_PAD.decode("JrQLj5P_89iXES9-vFgrIy29clF9CC_oPPsw3c5D0bs").unwrap());
        let signature =
            member("sig-b26=:wqcAqbmYJ2ji2glfAMaRy4gruYYnx2nEFN2HN6jrnDnQCK1u02Gb04v9EDgwUPiu4A0w6vuQv5lIp5WPpBKRCw==:", "sig-b26");
        assert!(key.verifies(Algorithm::Ed25519, base.as_bytes(), &signature.unwrap()));
        let whole = format!("sig-b26={parameters}");
        let inputs = inputs(&whole).unwrap();
        assert_eq!((inputs[0].0, inputs[0].1.raw, inputs[0].1.number("created")), ("sig-b26", parameters, Some(1_618_884_473)));
        assert!(text(["@status"].into_iter(), &request, "").is_err() && text(["via"].into_iter(), &request, "").is_err());
        let target = text(["@target-uri"].into_iter(), &request, "()").unwrap();
        assert!(target.starts_with("\"@target-uri\": https://example.com/foo?param=Value&Pet=dog\n"), "{target}");
    }

    const GOOD: &str =
        "(\"@method\" \"@target-uri\" \"content-digest\" \"content-length\" \"date\");created=5;keyid=\"https://h/ocm#k\";tag=\"ocm\"";

    fn parsed(input: &str, signature: &str) -> Result<Signature, Flaw> {
        Signature::parse(&map(&[("signature-input", input), ("signature", signature)]))
    }

    #[test]
    fn what_is_written_is_read_whatever_stands_beside_it() {
        assert_eq!(parameters("https://h/ocm#k", 5), GOOD);
        let (input, signature) = headers(GOOD, &[0, 1, 2]);
        let read = parsed(&input, &signature).unwrap();
        assert_eq!((read.key_id.as_str(), read.created, read.signature.as_slice()), ("https://h/ocm#k", 5, &[0, 1, 2][..]));
        let beside = format!("proxy=(\"@status\";req \"x\" );created=1;tag=\"other\", sig1={GOOD}");
        assert_eq!(parsed(&beside, "proxy=:AAAA:,sig1=:AAEC:").unwrap(), read, "known by its tag");
        let labelled = GOOD.replace(";tag=\"ocm\"", ";alg=\"ed25519\"");
        assert_eq!(parsed(&format!("ocm={labelled}"), "ocm=:AAEC:").unwrap().algorithm, Some(Algorithm::Ed25519));
        // Nextcloud's order of parameters is its own.
        assert!(parsed(&format!("ocm={}", GOOD.replace(" \"date\"", "")), "ocm=:AAEC:").is_ok());
    }

    #[test]
    fn f14_what_covers_too_little_or_cannot_be_read_is_refused() {
        let sound = "ocm=:AAEC:";
        for name in NEEDED {
            assert!(parsed(&format!("ocm={}", GOOD.replace(&format!("\"{name}\""), "\"x\"")), sound).is_err(), "{name}");
        }
        for input in [
            String::new(),
            "garbage".to_owned(),
            "ocm".to_owned(),
            "ocm=".to_owned(),
            "ocm=()".to_owned(),
            "ocm=(".to_owned(),
            "OCM=()".to_owned(),
            format!("ocm={GOOD},b={GOOD}"),
            format!("ocm={GOOD},ocm={GOOD}"),
            format!("b={}", GOOD.replace("\"ocm\"", "\"other\"")),
            format!("ocm={GOOD},"),
            format!("ocm={GOOD} x"),
            format!("ocm={}", GOOD.replace("\"date\"", "\"date\" \"date\"")),
            format!("ocm={}", GOOD.replace("\"date\"", "\"date\";sf")),
            format!("ocm={}", GOOD.replace("\"date\"", "date")),
            format!("ocm={}", GOOD.replace("created=5", "created=x")),
            format!("ocm={}", GOOD.replace("created=5", "created=5;created=6")),
            format!("ocm={}", GOOD.replace("created=5", "created=5;alg=\"rsa-pss-sha512\"")),
            format!("ocm={}", GOOD.replace("created=5", "created=5.5")),
            format!("ocm={}", GOOD.replace("created=5;", "")),
            format!("ocm={}", GOOD.replace("https://h/ocm#k", "")),
            format!("ocm={}", GOOD.replace("https://h/ocm#k", &"k".repeat(600))),
            format!("ocm={}", GOOD.replace("\"date\"", &"\"a\" ".repeat(40))),
            format!("ocm={}", GOOD.replace("tag", &"p=1;".repeat(40))),
            "x".repeat(5_000),
        ] {
            assert!(parsed(&input, sound).is_err(), "{input}");
        }
        for signature in ["", "ocm", "ocm=", "ocm=AAEC", "ocm=:%:", "other=:AAEC:", "ocm=:AAEC:,ocm=:AAEC:", &"x".repeat(5_000)] {
            assert!(parsed(&format!("ocm={GOOD}"), signature).is_err(), "{signature}");
        }
        assert!(Signature::parse(&HeaderMap::new()).is_err());
    }
}
