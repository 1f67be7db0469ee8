//! Uploads in chunks: what is left when putting them together fails, or the process dies in the middle.
use super::*;
use crate::domain::{Checksum, ChunkName, UploadId};
use crate::space::Stop;

const UPLOAD: UploadId = UploadId(77);

impl Home {
    async fn chunk(&self, name: &str, text: &str) -> Result<(bool, usize)> {
        self.space.put_chunk((UPLOAD, &crate::domain::Principal::Anonymous), ChunkName::parse(name).unwrap(), None, body(text)).await
    }

    async fn place(&self, path: &str, request: PutRequest) -> Result<Written> {
        self.space.place_upload(UPLOAD, &at(path), request).await
    }

    /// The content of an upload as it would be put together.
    async fn uploaded(&self) -> Result<String> {
        let held = self.space.hold_upload(UPLOAD).await?;
        let text = read_range(&held, 0, held.length).await;
        assert_eq!(text.len() as u64, held.length);
        Ok(text)
    }
}

async fn read_range(held: &HeldUpload, from: u64, to: u64) -> String {
    let pieces: Vec<Bytes> = held.read(from..to).try_collect().await.unwrap();
    String::from_utf8(pieces.concat()).unwrap()
}

async fn begun() -> Home {
    let home = Home::new();
    home.put("f", "old").await.unwrap();
    home.space.begin_upload(UPLOAD, &crate::domain::Principal::Anonymous, None).await.unwrap();
    for (name, text) in [("2", "wor"), ("10", "ld"), ("1", "hello ")] {
        home.chunk(name, text).await.unwrap();
    }
    home
}

#[tokio::test]
async fn a_crash_shows_the_old_file_or_the_new_one() {
    for (stop, content) in [(Stop::Staged, "old"), (Stop::Committed, "hello world"), (Stop::Placed, "hello world")] {
        let home = begun().await.reopen(Some(stop));
        let placed = home.place("f", PutRequest::plain()).await;
        assert!(matches!(placed, Err(Error::Internal(text)) if text.contains("stopped")));
        let home = home.reopen(None);
        assert_eq!(home.read("f").await.unwrap(), content, "after {stop:?}");
        // Nobody was told that it is there: the client may do it again.
        assert_eq!(home.uploaded().await.unwrap(), "hello world");
        home.place("f", PutRequest::plain()).await.unwrap();
        assert_eq!(home.read("f").await.unwrap(), "hello world");
        assert!(matches!(home.uploaded().await, Err(Error::NotFound)));
        home.check().await;
        assert_eq!(std::fs::read_dir(home.own("uploads/1")).unwrap().count(), 0);
    }
}

#[tokio::test]
async fn what_is_refused_leaves_every_chunk_and_the_old_file() {
    let home = begun().await;
    let wrong = Checksum::parse("MD5:00000000000000000000000000000000").unwrap();
    let mismatch = home.place("f", PutRequest { checksum: Some(wrong), ..PutRequest::plain() }).await;
    assert!(matches!(mismatch, Err(Error::BodyMismatch(_))));
    let short = home.place("f", PutRequest { length: Some(10), ..PutRequest::plain() }).await;
    assert!(matches!(short, Err(Error::BodyMismatch(_))));
    let absent = Write { expect: Expect::Absent, tokens: Vec::new() };
    let taken = home.place("f", PutRequest { write: absent, ..PutRequest::plain() }).await;
    assert!(matches!(taken, Err(Error::PreconditionFailed)));
    assert!(matches!(home.place("missing/f", PutRequest::plain()).await, Err(Error::ParentMissing)));
    assert_eq!(home.read("f").await.unwrap(), "old");
    assert_eq!(home.uploaded().await.unwrap(), "hello world");
    assert_eq!(std::fs::read_dir(home.own("staging")).unwrap().count(), 0);
}

#[tokio::test]
async fn a_file_that_changes_while_chunks_are_put_together_is_not_overwritten() {
    let home = begun().await;
    let seen = home.node("f").await.unwrap().etag;
    home.put("f", "somebody else's").await.unwrap();
    let write = Write { expect: Expect::Unchanged(Some(seen)), tokens: Vec::new() };
    let placed = home.place("f", PutRequest { write, ..PutRequest::plain() }).await;
    assert!(matches!(placed, Err(Error::PreconditionFailed)));
    assert_eq!(home.read("f").await.unwrap(), "somebody else's");
    assert_eq!(home.uploaded().await.unwrap(), "hello world");
}

#[tokio::test]
async fn d8_chunks_count_until_they_are_a_file() {
    let home = begun().await;
    home.space.set_quota(Some(20));
    assert_eq!(home.space.quota().await.unwrap().available, Some(6));
    assert!(matches!(home.put("g", "1234567").await, Err(Error::InsufficientStorage)));
    assert!(matches!(home.chunk("11", "1234567").await, Err(Error::InsufficientStorage)));
    home.place("f", PutRequest::plain()).await.unwrap();
    assert_eq!(home.space.quota().await.unwrap().available, Some(9));
    home.put("g", "123456789").await.unwrap();
}

#[tokio::test]
async fn chunks_survive_a_stop_and_count_again() {
    let home = begun().await;
    home.chunk("10", "ld!").await.unwrap();
    let home = home.reopen(None);
    home.space.set_quota(Some(20));
    assert_eq!(home.space.quota().await.unwrap().available, Some(5));
    assert_eq!(home.uploaded().await.unwrap(), "hello world!");
    home.space.drop_upload(UPLOAD).await.unwrap();
    assert_eq!(home.space.quota().await.unwrap().available, Some(17));
    assert!(matches!(home.chunk("1", "x").await, Err(Error::NotFound)));
}

#[tokio::test]
async fn any_range_of_the_whole_can_be_read() {
    let home = begun().await;
    let held = home.space.hold_upload(UPLOAD).await.unwrap();
    for from in 0..=11 {
        for to in from..=11 {
            let expected = "hello world".get(from..to).unwrap();
            assert_eq!(read_range(&held, from as u64, to as u64).await, expected, "{from}..{to}");
        }
    }
    let sha1 = held.checksum(None).await.unwrap();
    assert_eq!(sha1.to_string(), "SHA1:2aae6c35c94fcfb415dbe95f408b9ce91ee846ed");
}

#[tokio::test]
async fn an_upload_is_the_same_until_a_chunk_is_sent_again() {
    let home = begun().await;
    let identity = async |home: &Home| home.space.hold_upload(UPLOAD).await.unwrap().identity;
    let first = identity(&home).await;
    let home = home.reopen(None);
    assert_eq!(identity(&home).await, first);
    home.chunk("2", "WOR").await.unwrap();
    assert_ne!(identity(&home).await, first);
}

#[tokio::test]
async fn d9_chunks_are_bounded() {
    let home = begun().await;
    let most = crate::limits::UPLOAD_CHUNKS_MAX;
    for number in 3..most {
        home.chunk(&format!("x{number}"), "!").await.unwrap();
    }
    assert!(matches!(home.chunk("one-more", "!").await, Err(Error::LimitReached(_))));
    // In the place of an older one there is always room.
    assert_eq!(home.chunk("x5", "!").await.unwrap(), (false, most));
    home.place("f", PutRequest::plain()).await.unwrap();
    assert_eq!(home.read("f").await.unwrap(), format!("hello world{}", "!".repeat(most - 3)));
}
