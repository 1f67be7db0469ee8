//! A browser as far as pages without scripts need one: it keeps cookies by server, follows no redirect by itself, and sends forms as they stand.

use std::collections::{BTreeMap, HashMap};

use super::server::{Answer, Ask, TestServer, password};

/// Cookies by server, as `host:port` and name.
#[derive(Default, Clone)]
pub(crate) struct Browser {
    cookies: HashMap<(String, String), String>,
}

/// A form of a page.
#[derive(Debug, Clone)]
pub(crate) struct PageForm {
    /// Where it is sent.
    pub(crate) action: String,
    /// What is in it already.
    pub(crate) fields: BTreeMap<String, String>,
}

impl PageForm {
    /// With a field filled in.
    pub(crate) fn with(mut self, name: &str, value: &str) -> PageForm {
        self.fields.insert(name.to_owned(), value.to_owned());
        self
    }

    /// As it is sent.
    pub(crate) fn body(&self) -> String {
        url::form_urlencoded::Serializer::new(String::new()).extend_pairs(&self.fields).finish()
    }
}

impl Browser {
    /// One that nobody has used.
    pub(crate) fn new() -> Browser {
        Browser::default()
    }

    fn ask(&self, server: &TestServer, method: &str, path: &str) -> Ask {
        let host = server.host();
        let own = self.cookies.iter().filter(|((at, _), _)| *at == host);
        let cookies: Vec<String> = own.map(|((_, name), value)| format!("{name}={value}")).collect();
        let ask = server.ask(method, path).header("accept", "text/html,application/xhtml+xml").header("user-agent", "Mozilla/5.0 (Test)");
        if cookies.is_empty() { ask } else { ask.header("cookie", &cookies.join("; ")) }
    }

    fn keep(&mut self, server: &TestServer, answer: &Answer) {
        for set in answer.headers.get_all("set-cookie") {
            let set = set.to_str().unwrap();
            let (name, value) = set.split(';').next().unwrap().split_once('=').unwrap();
            let key = (server.host(), name.to_owned());
            if set.contains("Max-Age=0") {
                self.cookies.remove(&key);
            } else {
                self.cookies.insert(key, value.to_owned());
            }
        }
    }

    /// Opens a page by typing its address.
    pub(crate) async fn open(&mut self, server: &TestServer, path: &str, status: u16) -> Answer {
        let answer = self.ask(server, "GET", path).header("sec-fetch-site", "none").expect(status).await;
        self.keep(server, &answer);
        answer
    }

    /// Sends a form from a page of the same server.
    pub(crate) async fn send(&mut self, server: &TestServer, form: &PageForm, status: u16) -> Answer {
        let from = [("sec-fetch-site", "same-origin"), ("origin", &format!("http://{}", server.host()))];
        self.send_from(server, form, &from, status).await
    }

    /// Sends a form with other headers.
    pub(crate) async fn send_from(&mut self, server: &TestServer, form: &PageForm, headers: &[(&str, &str)], status: u16) -> Answer {
        let ask = self.ask(server, "POST", &form.action).header("content-type", "application/x-www-form-urlencoded");
        let answer = headers.iter().fold(ask, |ask, (name, value)| ask.header(name, value)).body(form.body()).expect(status).await;
        self.keep(server, &answer);
        answer
    }

    /// Logs in on the page at `/login`, and goes where that leads.
    pub(crate) async fn log_in(&mut self, server: &TestServer, user: &str, page: &str) -> Answer {
        let form = form_of(&self.open(server, page, 200).await.text(), "/login").with("user", user).with("password", &password(user));
        self.send(server, &form, 303).await
    }

    /// The session of a server.
    pub(crate) fn session(&self, server: &TestServer) -> Option<&str> {
        self.cookies.get(&(server.host(), "causeway_session".to_owned())).map(String::as_str)
    }

    /// Puts a session's cookie into the browser.
    pub(crate) fn set_session(&mut self, server: &TestServer, value: &str) {
        self.cookies.insert((server.host(), "causeway_session".to_owned()), value.to_owned());
    }
}

/// Where an answer leads.
#[track_caller]
pub(crate) fn location(answer: &Answer) -> String {
    answer.header("location").unwrap().to_owned()
}

/// The form of a page whose action ends so, with its hidden fields.
#[track_caller]
pub(crate) fn form_of(html: &str, action: &str) -> PageForm {
    let forms = html.split("<form ").skip(1).map(|form| form.split("</form>").next().unwrap());
    let form = forms.into_iter().find(|form| attribute(form, "action").is_some_and(|found| found.ends_with(action)));
    let form = form.unwrap_or_else(|| panic!("no form for {action}: {html}"));
    let inputs = form.split("<input ").skip(1).map(|input| input.split('>').next().unwrap());
    let fields = inputs.filter_map(|input| Some((attribute(input, "name")?, attribute(input, "value").unwrap_or_default())));
    PageForm { action: attribute(form, "action").unwrap(), fields: fields.collect() }
}

fn attribute(tag: &str, name: &str) -> Option<String> {
    let (_, rest) = tag.split_once(&format!("{name}=\""))?;
    Some(unescaped(rest.split('"').next()?))
}

/// The text that stands escaped in a page.
pub(crate) fn unescaped(text: &str) -> String {
    let text = text.replace("&#60;", "<").replace("&#62;", ">").replace("&#34;", "\"").replace("&#39;", "'");
    text.replace("&lt;", "<").replace("&gt;", ">").replace("&quot;", "\"").replace("&#38;", "&").replace("&amp;", "&")
}
