//! The envelope around every OCS answer: one tree of values, rendered as XML or as JSON, for version 1 or 2.
//!
//! JSON is compact: clients find the code by looking for `"statuscode":` and digits (`protocol/clients.md` 2).

use std::borrow::Cow;

use bytes::Bytes;
use http::header::{ACCEPT, CACHE_CONTROL, CONTENT_TYPE};
use http::{HeaderValue, Request, Response, StatusCode};
use http_body_util::{BodyExt as _, Full};
use serde::ser::{Serialize, SerializeMap as _, SerializeSeq as _, Serializer};

use crate::service::{Reason, Refusal};
use crate::wire::Body;
use crate::wire::xml::Writer;

/// What an answer says. Names are those of the program, so that they are names in XML as well.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Value {
    /// Nothing is known.
    Null,
    /// Yes or no; in XML `1` or nothing, as PHP writes it.
    Bool(bool),
    /// A whole number.
    Number(i64),
    /// A text.
    Text(Cow<'static, str>),
    /// Several, in XML each an `element`.
    List(Vec<Value>),
    /// Several by name, in order.
    Map(Vec<(&'static str, Value)>),
}

impl Value {
    /// No data: PHP knows no difference between an empty list and an empty map, and clients expect `[]`.
    pub(crate) const fn nothing() -> Value {
        Value::List(Vec::new())
    }

    /// Values by name.
    pub(crate) fn map<const N: usize>(entries: [(&'static str, Value); N]) -> Value {
        Value::Map(entries.into())
    }

    /// A list of what can be a value.
    pub(crate) fn list<T: Into<Value>>(items: impl IntoIterator<Item = T>) -> Value {
        Value::List(items.into_iter().map(Into::into).collect())
    }

    fn write(&self, out: &mut Writer) {
        match self {
            Value::Null | Value::Bool(false) => {}
            Value::Bool(true) => out.markup("1"),
            Value::Number(number) => out.plain(number.to_string().as_bytes()),
            Value::Text(text) => out.text(text),
            Value::List(items) => items.iter().for_each(|item| item.write_as("element", out)),
            Value::Map(entries) => entries.iter().for_each(|(name, value)| value.write_as(name, out)),
        }
    }

    fn write_as(&self, name: &'static str, out: &mut Writer) {
        out.markup("<");
        out.markup(name);
        out.markup(">");
        self.write(out);
        out.close_local(name);
    }
}

impl Serialize for Value {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Value::Null => serializer.serialize_unit(),
            Value::Bool(is) => serializer.serialize_bool(*is),
            Value::Number(number) => serializer.serialize_i64(*number),
            Value::Text(text) => serializer.serialize_str(text),
            Value::List(items) => {
                let mut list = serializer.serialize_seq(Some(items.len()))?;
                items.iter().try_for_each(|item| list.serialize_element(item))?;
                list.end()
            }
            Value::Map(entries) => {
                let mut map = serializer.serialize_map(Some(entries.len()))?;
                entries.iter().try_for_each(|(name, value)| map.serialize_entry(name, value))?;
                map.end()
            }
        }
    }
}

impl From<bool> for Value {
    fn from(is: bool) -> Value {
        Value::Bool(is)
    }
}

impl From<i64> for Value {
    fn from(number: i64) -> Value {
        Value::Number(number)
    }
}

impl From<u32> for Value {
    fn from(number: u32) -> Value {
        Value::Number(number.into())
    }
}

impl From<u64> for Value {
    fn from(number: u64) -> Value {
        Value::Number(i64::try_from(number).unwrap_or(i64::MAX))
    }
}

impl From<&'static str> for Value {
    fn from(text: &'static str) -> Value {
        Value::Text(Cow::Borrowed(text))
    }
}

impl From<String> for Value {
    fn from(text: String) -> Value {
        Value::Text(Cow::Owned(text))
    }
}

/// Why something was not done: a code of OCS or of HTTP, and words for the caller.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    code: u16,
    message: Cow<'static, str>,
}

impl Problem {
    /// A code and its words.
    pub(crate) fn new(code: u16, message: impl Into<Cow<'static, str>>) -> Problem {
        Problem { code, message: message.into() }
    }

    /// Nobody has logged in, or wrongly.
    pub fn unauthorised() -> Problem {
        Problem::new(997, "Unauthorised")
    }

    /// There is no such endpoint.
    pub(crate) fn unknown() -> Problem {
        Problem::new(998, "There is no such endpoint. Look at the spelling of the address.")
    }

    /// The endpoint does not do that.
    pub(crate) fn not_allowed() -> Problem {
        Problem::new(405, "This endpoint does not know the method.")
    }

    /// The request cannot be read.
    pub(crate) fn bad_request(message: impl Into<Cow<'static, str>>) -> Problem {
        Problem::new(400, message)
    }

    /// The caller may not.
    pub(crate) fn forbidden(message: impl Into<Cow<'static, str>>) -> Problem {
        Problem::new(403, message)
    }

    /// A request that another site made the browser send.
    pub fn foreign() -> Problem {
        Problem::new(412, "The request comes from another site.")
    }

    /// Something would change, and a form in a page of another site could have sent this.
    pub fn undeclared() -> Problem {
        Problem::new(412, "Requests that change something carry the header OCS-APIRequest: true.")
    }

    /// Too many wrong passwords.
    pub fn throttled() -> Problem {
        Problem::new(429, "Too many failed logins. Try again later.")
    }

    /// Not now.
    pub fn unavailable() -> Problem {
        Problem::new(503, "Not now. Try again soon.")
    }
}

impl From<Refusal> for Problem {
    fn from(refusal: Refusal) -> Problem {
        let code = match refusal.reason {
            Reason::Usage => 400,
            Reason::Refused | Reason::NeedsPassword => 403,
            Reason::NotFound => 404,
            Reason::RemoteUnreachable => 503,
            Reason::Failed => 996,
        };
        Problem::new(code, refusal.text)
    }
}

/// What an endpoint says.
pub(crate) type Answer = Result<Value, Problem>;

/// The version of the interface.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Version {
    /// `/ocs/v1.php`: success is code 100, and the status of HTTP is 200 whatever happened, but for a missing login.
    One,
    /// `/ocs/v2.php`: success is code 200, and the status of HTTP says what happened.
    Two,
}

impl Version {
    fn success(self) -> u16 {
        match self {
            Version::One => 100,
            Version::Two => 200,
        }
    }

    fn status(self, code: u16) -> StatusCode {
        let status = match (self, code) {
            // What concerns the server and not the question is told in any version: clients of version 1 look for these.
            (Version::One | Version::Two, 997) => 401,
            (Version::One | Version::Two, 429 | 503) => code,
            (Version::One, _) | (Version::Two, 100) => 200,
            (Version::Two, 998) => 404,
            (Version::Two, 996 | 999) => 500,
            (Version::Two, 200..=599) => code,
            (Version::Two, _) => 400,
        };
        StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR)
    }
}

/// How values are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// What is sent where nothing else is asked for.
    Xml,
    /// `format=json`, or an `Accept` that says so.
    Json,
}

/// How one request wants its answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Form {
    /// Version.
    pub version: Version,
    /// Format.
    pub format: Format,
}

impl Form {
    /// Reads it from what stands behind `/ocs/`, the query and the headers.
    pub fn of<B>(path: &str, request: &Request<B>) -> Form {
        let first = path.split('/').next().unwrap_or_default();
        // What is neither is nothing known, and is told so by its status.
        let version = if first == "v1.php" { Version::One } else { Version::Two };
        let query = request.uri().query().unwrap_or_default();
        let asked = url::form_urlencoded::parse(query.as_bytes()).filter(|(name, _)| name == "format").last();
        let accepts =
            || request.headers().get(ACCEPT).and_then(|value| value.to_str().ok()).is_some_and(|value| value.contains("application/json"));
        let json = asked.map_or_else(accepts, |(_, format)| format == "json");
        Form { version, format: if json { Format::Json } else { Format::Xml } }
    }

    /// The answer for a problem that was met before any endpoint was asked.
    pub fn refuse(self, problem: Problem) -> Response<Body> {
        self.render(Err(problem))
    }

    /// The answer.
    pub(crate) fn render(self, answer: Answer) -> Response<Body> {
        let (state, code, message, data) = match answer {
            Ok(data) => ("ok", self.version.success(), Cow::Borrowed("OK"), data),
            Err(problem) => ("failure", problem.code, problem.message, Value::nothing()),
        };
        let meta = Value::map([
            ("status", state.into()),
            ("statuscode", u32::from(code).into()),
            ("message", Value::Text(message)),
            ("totalitems", "".into()),
            ("itemsperpage", "".into()),
        ]);
        let whole = Value::map([("meta", meta), ("data", data)]);
        let (media, body) = match self.format {
            Format::Xml => ("application/xml; charset=utf-8", xml(&whole)),
            Format::Json => ("application/json; charset=utf-8", serde_json::to_vec(&Value::map([("ocs", whole)])).unwrap_or_default()),
        };
        let mut response = Response::new(Full::new(Bytes::from(body)).map_err(|never| match never {}).boxed_unsync());
        *response.status_mut() = self.version.status(code);
        response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(media));
        response.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("private, no-store"));
        response
    }
}

fn xml(whole: &Value) -> Vec<u8> {
    let mut out = Writer::with_capacity(1024);
    out.markup("<?xml version=\"1.0\" encoding=\"utf-8\"?>\n");
    whole.write_as("ocs", &mut out);
    out.markup("\n");
    out.into_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn form(version: Version, format: Format) -> Form {
        Form { version, format }
    }

    async fn text(response: Response<Body>) -> String {
        String::from_utf8(response.into_body().collect().await.unwrap().to_bytes().to_vec()).unwrap()
    }

    fn sample() -> Value {
        Value::map([
            ("name", "a<b>&".into()),
            ("yes", true.into()),
            ("no", false.into()),
            ("count", 7_u64.into()),
            ("none", Value::Null),
            ("many", Value::list(["x", "y"])),
        ])
    }

    #[tokio::test]
    async fn one_tree_is_written_in_both_formats() {
        let json = text(form(Version::One, Format::Json).render(Ok(sample()))).await;
        assert_eq!(
            json,
            r#"{"ocs":{"meta":{"status":"ok","statuscode":100,"message":"OK","totalitems":"","itemsperpage":""},"data":{"name":"a<b>&","yes":true,"no":false,"count":7,"none":null,"many":["x","y"]}}}"#
        );
        let xml = text(form(Version::Two, Format::Xml).render(Ok(sample()))).await;
        assert!(xml.contains("<statuscode>200</statuscode>"), "{xml}");
        assert!(xml.contains("<name>a&lt;b&gt;&amp;</name><yes>1</yes><no></no><count>7</count><none></none>"), "{xml}");
        assert!(xml.contains("<many><element>x</element><element>y</element></many>"), "{xml}");
        crate::wire::xml::parse(xml.as_bytes()).unwrap();
    }

    #[track_caller]
    fn check(code: u16, one: u16, two: u16) {
        assert_eq!((Version::One.status(code).as_u16(), Version::Two.status(code).as_u16()), (one, two), "{code}");
    }

    #[test]
    fn codes_become_statuses() {
        check(100, 200, 200);
        check(200, 200, 200);
        check(101, 200, 400);
        check(400, 200, 400);
        check(403, 200, 403);
        check(404, 200, 404);
        check(503, 503, 503);
        check(996, 200, 500);
        check(997, 401, 401);
        check(998, 200, 404);
    }

    #[test]
    fn query_and_accept_choose_the_format() {
        let ask =
            |path: &str, accept: &str| Form::of("v1.php/x", &Request::builder().uri(path).header(ACCEPT, accept).body(()).unwrap()).format;
        assert_eq!(ask("/?format=json", "*/*"), Format::Json);
        assert_eq!(ask("/?format=xml", "application/json"), Format::Xml);
        assert_eq!(ask("/", "application/json, text/plain"), Format::Json);
        assert_eq!(ask("/", "*/*"), Format::Xml);
    }
}
