//! Parameters of OCS requests. Clients send them in the query, also of POST, and in bodies of four kinds: urlencoded, multipart and JSON
//! (`protocol/clients.md` 4). What stands in the body wins.

use crate::limits::OCS_PARAMETERS_MAX;
use crate::protocol::ocs::envelope::Problem;

/// Names and values in the order in which they came. `Debug` hides them: passwords are among them.
#[derive(Clone, Default, PartialEq, Eq)]
pub(super) struct Parameters(Vec<(String, String)>);

impl std::fmt::Debug for Parameters {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("Parameters(..)")
    }
}

impl Parameters {
    /// Reads a query.
    pub(super) fn of_query(query: &str) -> Result<Parameters, Problem> {
        let mut parameters = Parameters::default();
        parameters.add_urlencoded(query.as_bytes())?;
        Ok(parameters)
    }

    /// Reads a body by its media type; one without a type is urlencoded, as PHP reads it.
    pub(super) fn add_body(&mut self, content_type: &str, body: &[u8]) -> Result<(), Problem> {
        let mut pieces = content_type.split(';').map(str::trim);
        match pieces.next().unwrap_or_default().to_ascii_lowercase().as_str() {
            "application/json" => self.add_json(body),
            "multipart/form-data" => {
                let boundary = pieces.find_map(|piece| piece.strip_prefix("boundary="));
                let boundary = boundary.ok_or_else(|| Problem::bad_request("The multipart body has no boundary."))?;
                self.add_multipart(boundary.trim_matches('"'), body)
            }
            _ => self.add_urlencoded(body),
        }
    }

    /// The value of a name, the last if there are several.
    pub(super) fn get(&self, name: &str) -> Option<&str> {
        self.0.iter().rev().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }

    /// Every value of a name, which PHP clients write with brackets.
    pub(super) fn all<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a str> {
        let named = move |known: &str| known == name || known.strip_suffix("[]") == Some(name);
        self.0.iter().filter(move |(known, _)| named(known)).map(|(_, value)| value.as_str())
    }

    fn add(&mut self, name: impl Into<String>, value: impl Into<String>) -> Result<(), Problem> {
        if self.0.len() >= OCS_PARAMETERS_MAX {
            return Err(Problem::bad_request("There are too many parameters."));
        }
        self.0.push((name.into(), value.into()));
        Ok(())
    }

    fn add_urlencoded(&mut self, text: &[u8]) -> Result<(), Problem> {
        url::form_urlencoded::parse(text).try_for_each(|(name, value)| self.add(name, value))
    }

    fn add_json(&mut self, body: &[u8]) -> Result<(), Problem> {
        if body.iter().all(u8::is_ascii_whitespace) {
            return Ok(());
        }
        let unreadable = || Problem::bad_request("The body is not a JSON object.");
        let serde_json::Value::Object(object) = serde_json::from_slice(body).map_err(|_error| unreadable())? else {
            return Err(unreadable());
        };
        for (name, value) in object {
            match value {
                serde_json::Value::Array(items) => {
                    for item in items {
                        self.add(format!("{name}[]"), scalar(&item)?)?;
                    }
                }
                // What is null was not given.
                serde_json::Value::Null => {}
                serde_json::Value::Bool(_) | serde_json::Value::Number(_) | serde_json::Value::String(_) | serde_json::Value::Object(_) => {
                    self.add(name, scalar(&value)?)?;
                }
            }
        }
        Ok(())
    }

    fn add_multipart(&mut self, boundary: &str, body: &[u8]) -> Result<(), Problem> {
        let unreadable = || Problem::bad_request("The multipart body cannot be read.");
        let text = std::str::from_utf8(body).map_err(|_error| unreadable())?;
        // The first delimiter stands at the start, the others after a line break that belongs to them (RFC 2046 5.1.1).
        let delimiter = format!("--{boundary}");
        let mut rest = text
            .strip_prefix(&delimiter)
            .or_else(|| text.split_once(&format!("\r\n{delimiter}")).map(|(_, rest)| rest))
            .ok_or_else(unreadable)?;
        let between = format!("\r\n{delimiter}");
        while !rest.starts_with("--") {
            let (part, after) = rest.split_once(&between).ok_or_else(unreadable)?;
            let part = part.strip_prefix("\r\n").ok_or_else(unreadable)?;
            let (head, value) = part.split_once("\r\n\r\n").ok_or_else(unreadable)?;
            self.add(part_name(head).ok_or_else(unreadable)?, value)?;
            rest = after;
        }
        Ok(())
    }
}

/// Numbers and yes or no as a form would carry them.
fn scalar(value: &serde_json::Value) -> Result<String, Problem> {
    match value {
        serde_json::Value::String(text) => Ok(text.clone()),
        serde_json::Value::Number(number) => Ok(number.to_string()),
        serde_json::Value::Bool(is) => Ok(is.to_string()),
        serde_json::Value::Null => Ok(String::new()),
        serde_json::Value::Array(_) | serde_json::Value::Object(_) => Err(Problem::bad_request("The JSON is nested too deeply.")),
    }
}

/// The name in the `Content-Disposition` of a part (RFC 7578 4.2).
fn part_name(head: &str) -> Option<String> {
    let line = head.split("\r\n").find(|line| line.to_ascii_lowercase().starts_with("content-disposition:"))?;
    let (_, rest) = line.split_once("; name=").or_else(|| line.split_once(";name="))?;
    let name = match rest.strip_prefix('"') {
        Some(quoted) => quoted.split_once('"')?.0,
        None => rest.split(';').next()?.trim(),
    };
    Some(name.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(content_type: &str, body: &str) {
        let mut parameters = Parameters::of_query("path=/query&shareType=0&format=json").unwrap();
        parameters.add_body(content_type, body.as_bytes()).unwrap();
        let found = (parameters.get("path"), parameters.get("shareType"), parameters.get("format"), parameters.get("none"));
        assert_eq!(found, (Some("/a b"), Some("3"), Some("json"), None), "{content_type}");
        assert_eq!(parameters.all("groups").collect::<Vec<_>>(), ["one", "two"], "{content_type}");
    }

    #[test]
    fn bodies_are_read_as_clients_send_them() {
        let form = "path=%2Fa+b&shareType=3&groups[]=one&groups%5B%5D=two";
        check("application/x-www-form-urlencoded", form);
        check("application/x-www-form-urlencoded; charset=utf-8", form);
        check("", form);
        check("application/json", r#"{"path":"/a b","shareType":3,"groups":["one","two"],"other":null}"#);
        let part = |name: &str, value: &str| format!("--x\r\nContent-Disposition: form-data; name=\"{name}\"\r\n\r\n{value}\r\n");
        let body = [part("path", "/a b"), part("shareType", "3"), part("groups[]", "one"), part("groups[]", "two")].concat();
        check("multipart/form-data; boundary=x", &format!("{body}--x--\r\n"));
        check("multipart/form-data; boundary=\"x\"", &format!("preamble\r\n{body}--x--"));
    }

    #[track_caller]
    fn refused(content_type: &str, body: &str) {
        assert!(Parameters::default().add_body(content_type, body.as_bytes()).is_err(), "{content_type}: {body}");
    }

    #[test]
    fn what_cannot_be_read_is_refused() {
        refused("application/json", "[1]");
        refused("application/json", "{\"a\":{\"b\":1}}");
        refused("application/json", &"[".repeat(100_000));
        refused("multipart/form-data", "--x--");
        refused("multipart/form-data; boundary=x", "--x\r\nContent-Disposition: form-data; name=\"a\"\r\n\r\n1");
        refused("multipart/form-data; boundary=x", "--x\r\n\r\n1\r\n--x--");
        refused("multipart/form-data; boundary=x", "");
        refused("", &"a=1&".repeat(OCS_PARAMETERS_MAX + 1));
    }
}
