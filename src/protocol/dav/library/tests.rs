//! Facts about dav-server 0.11, right or wrong, on which the guard rests. When one of these fails after an upgrade, the guard may be
//! loosened, or must be tightened (ENGINE.md 1.3 has the whole list). That nested XML of 2,500 levels ends the process cannot be pinned in a
//! process that is to go on.

use std::sync::{Arc, Mutex};

use dav_server::davpath::DavPath;
use dav_server::fs::{
    DavDirEntry, DavFile, DavMetaData, FsError, FsFuture, FsResult, FsStream, GuardedFileSystem, OpenOptions, ReadDirMeta,
};
use dav_server::{DavHandler, body};
use futures_util::FutureExt;
use http::{Request, Response, StatusCode};
use http_body_util::BodyExt;

use super::*;

/// A file system in which every path but those with `new` in it is a collection, and which writes down what it is asked to do.
#[derive(Debug, Clone, Default)]
struct Recorder(Arc<Mutex<Vec<String>>>);

#[derive(Debug, Clone)]
struct Folder;

impl DavMetaData for Folder {
    fn len(&self) -> u64 {
        0
    }
    fn modified(&self) -> FsResult<std::time::SystemTime> {
        Ok(std::time::SystemTime::UNIX_EPOCH)
    }
    fn is_dir(&self) -> bool {
        true
    }
    fn etag(&self) -> Option<String> {
        Some("1-2".to_owned())
    }
}

impl Recorder {
    fn note(&self, what: String) {
        self.0.lock().unwrap().push(what);
    }
}

impl GuardedFileSystem<()> for Recorder {
    fn open<'a>(&'a self, _path: &'a DavPath, _options: OpenOptions, _credentials: &'a ()) -> FsFuture<'a, Box<dyn DavFile>> {
        Box::pin(async { Err(FsError::NotImplemented) })
    }
    fn read_dir<'a>(
        &'a self,
        _path: &'a DavPath,
        _meta: ReadDirMeta,
        _credentials: &'a (),
    ) -> FsFuture<'a, FsStream<Box<dyn DavDirEntry>>> {
        Box::pin(async { Ok(Box::pin(futures_util::stream::empty()) as FsStream<_>) })
    }
    fn metadata<'a>(&'a self, path: &'a DavPath, _credentials: &'a ()) -> FsFuture<'a, Box<dyn DavMetaData>> {
        Box::pin(async move {
            if path.to_string().contains("new") { Err(FsError::NotFound) } else { Ok(Box::new(Folder) as Box<dyn DavMetaData>) }
        })
    }
    fn remove_dir<'a>(&'a self, path: &'a DavPath, _credentials: &'a ()) -> FsFuture<'a, ()> {
        self.note(format!("remove {path}"));
        Box::pin(async { Ok(()) })
    }
    fn rename<'a>(&'a self, from: &'a DavPath, to: &'a DavPath, _credentials: &'a ()) -> FsFuture<'a, ()> {
        self.note(format!("rename {from} {to}"));
        Box::pin(async { Ok(()) })
    }
    fn patch_props<'a>(
        &'a self,
        _path: &'a DavPath,
        patch: Vec<(bool, dav_server::fs::DavProp)>,
        _credentials: &'a (),
    ) -> FsFuture<'a, Vec<(StatusCode, dav_server::fs::DavProp)>> {
        self.note(format!("patch {}", patch.len()));
        Box::pin(async { Ok(Vec::new()) })
    }
    fn have_props<'a>(&'a self, _path: &'a DavPath, _credentials: &'a ()) -> std::pin::Pin<Box<dyn Future<Output = bool> + Send + 'a>> {
        Box::pin(async { true })
    }
}

async fn ask(recorder: &Recorder, method: &str, headers: &[(&str, &str)], body: &'static str) -> Response<body::Body> {
    let mut request = Request::builder().method(method).uri("/a/sub");
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let handler = DavHandler::<()>::builder().filesystem(Box::new(recorder.clone())).build_handler();
    handler.handle_guarded(request.body(Full::new(Bytes::from_static(body.as_bytes()))).unwrap(), String::new(), ()).await
}

async fn text(response: Response<body::Body>) -> String {
    String::from_utf8(response.into_body().collect().await.unwrap().to_bytes().to_vec()).unwrap()
}

#[tokio::test]
async fn a_cut_if_header_panics() {
    let recorder = Recorder::default();
    let asked = std::panic::AssertUnwindSafe(ask(&recorder, "DELETE", &[("if", "(<abc")], "")).catch_unwind().await;
    assert!(asked.is_err(), "the library reads `If` without panicking now");
}

#[tokio::test]
async fn a_move_onto_an_ancestor_deletes_the_source() {
    let recorder = Recorder::default();
    ask(&recorder, "MOVE", &[("destination", "/a"), ("overwrite", "T")], "").await;
    assert_eq!(recorder.0.lock().unwrap().first().unwrap(), "remove /a");
}

#[tokio::test]
async fn a_destination_on_another_host_is_taken_for_ours() {
    let recorder = Recorder::default();
    ask(&recorder, "MOVE", &[("destination", "http://elsewhere.example/new")], "").await;
    assert_eq!(*recorder.0.lock().unwrap(), ["rename /a/sub /new"]);
}

#[tokio::test]
async fn a_modification_time_never_reaches_the_file_system() {
    let recorder = Recorder::default();
    let body = r#"<d:propertyupdate xmlns:d="DAV:" xmlns:z="urn:schemas-microsoft-com:"><d:set><d:prop>
        <z:Win32LastModifiedTime>Sun, 13 Sep 2020 12:26:40 GMT</z:Win32LastModifiedTime></d:prop></d:set></d:propertyupdate>"#;
    let answer = text(ask(&recorder, "PROPPATCH", &[], body).await).await;
    assert!(answer.contains("200 OK"), "{answer}");
    assert!(!recorder.0.lock().unwrap().iter().any(|note| note != "patch 0"), "{:?}", recorder.0);
    let body = r#"<d:propertyupdate xmlns:d="DAV:"><d:set><d:prop><d:lastmodified>1</d:lastmodified></d:prop></d:set></d:propertyupdate>"#;
    let answer = text(ask(&recorder, "PROPPATCH", &[], body).await).await;
    assert!(answer.contains("403 Forbidden"), "{answer}");
}

#[tokio::test]
async fn etags_have_no_quotes_and_missing_properties_no_404() {
    let recorder = Recorder::default();
    let body = r#"<d:propfind xmlns:d="DAV:"><d:prop><d:getetag/><d:nothing/></d:prop></d:propfind>"#;
    let answer = text(ask(&recorder, "PROPFIND", &[("depth", "0")], body).await).await;
    assert!(answer.contains("getetag>1-2<") && !answer.contains("404"), "{answer}");
}

#[tokio::test]
async fn errors_have_no_body() {
    let recorder = Recorder::default();
    let response = ask(&recorder, "UNLOCK", &[], "").await;
    assert_eq!(response.status(), StatusCode::METHOD_NOT_ALLOWED);
    assert_eq!(text(response).await, "");
}
