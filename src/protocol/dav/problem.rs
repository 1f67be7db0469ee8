//! Errors as WebDAV says them: one exhaustive match from causes to statuses, and bodies as the field writes them.
//!
//! | cause | status | why |
//! |---|---|---|
//! | nothing there | 404 | |
//! | parent missing | 409 | RFC 4918 9.7.1; clients make it and try again |
//! | exists | 405 | RFC 4918 9.3.1, MKCOL |
//! | a remote is away | 503 with `Retry-After` | sync clients skip the folder; on 404 they delete local files |
//! | mounts form a loop | 508 | RFC 5842 7.2 |
//! | a lock is in the way | 423 `lock-token-submitted` with the lock's root | RFC 4918 16 |

use std::borrow::Cow;
use std::time::Duration;

use bytes::Bytes;
use http::header::{ALLOW, CONTENT_TYPE, RETRY_AFTER};
use http::{HeaderValue, Response, StatusCode};

use crate::domain::{Error, InvalidPath, TreePath};
use crate::protocol::dav::request::{Call, full};
use crate::wire::xml::{InvalidXml, Writer};
use crate::wire::{Body, multistatus};

/// Result of a method.
pub(super) type Result<T, E = Problem> = std::result::Result<T, E>;

/// A pre- or postcondition code of RFC 4918 16 or its relatives.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Condition {
    /// A lock that was not submitted, and where it was taken.
    LockTokenSubmitted(TreePath),
    /// A lock that is in the way of a new one, and where it was taken.
    NoConflictingLock(TreePath),
    /// The token is no lock on this URL.
    LockTokenMatchesRequestUri,
    /// No walks without end here.
    PropfindFiniteDepth,
    /// Not a report that is offered.
    SupportedReport,
    /// The token of a sync-collection is not ours, or too old: the client begins anew (RFC 6578 3.2).
    ValidSyncToken,
    /// A walk of all levels would leave this server (RFC 6578 3.3).
    SyncTraversalSupported,
    /// There is more to tell than the client wants (RFC 5323 5.17, RFC 6578 3.7).
    NumberOfMatchesWithinLimits,
    /// Not a type of collection that can be made.
    ValidResourcetype,
    /// XML entities of the client's own are refused.
    NoExternalEntities,
    /// Quota or disk is used up (RFC 4331 6).
    QuotaNotExceeded,
}

/// Why a request is refused, as WebDAV says it.
#[derive(Debug, Clone)]
pub(super) struct Problem {
    pub(super) status: StatusCode,
    /// SabreDAV's name of the exception: clients compare it.
    exception: &'static str,
    message: Cow<'static, str>,
    pub(super) condition: Option<Condition>,
    retry_after: Option<Duration>,
    /// What to log, where the client must not read it.
    internal: Option<String>,
}

impl Problem {
    fn new(status: StatusCode, exception: &'static str, message: impl Into<Cow<'static, str>>) -> Problem {
        Problem { status, exception, message: message.into(), condition: None, retry_after: None, internal: None }
    }

    /// 400.
    pub(super) fn bad_request(message: impl Into<Cow<'static, str>>) -> Problem {
        Problem::new(StatusCode::BAD_REQUEST, "Sabre\\DAV\\Exception\\BadRequest", message)
    }

    /// 403.
    pub(super) fn forbidden(message: impl Into<Cow<'static, str>>) -> Problem {
        Problem::new(StatusCode::FORBIDDEN, "Sabre\\DAV\\Exception\\Forbidden", message)
    }

    /// 404.
    pub(super) fn not_found() -> Problem {
        Problem::new(StatusCode::NOT_FOUND, "Sabre\\DAV\\Exception\\NotFound", "There is nothing by that name")
    }

    /// 405, with what is allowed.
    pub(super) fn method_not_allowed(message: impl Into<Cow<'static, str>>) -> Problem {
        Problem::new(StatusCode::METHOD_NOT_ALLOWED, "Sabre\\DAV\\Exception\\MethodNotAllowed", message)
    }

    /// 412.
    pub(super) fn precondition_failed() -> Problem {
        Problem::new(
            StatusCode::PRECONDITION_FAILED,
            "Sabre\\DAV\\Exception\\PreconditionFailed",
            "A condition of the request does not hold",
        )
    }

    /// 413.
    pub(super) fn too_large(message: impl Into<Cow<'static, str>>) -> Problem {
        Problem::new(StatusCode::PAYLOAD_TOO_LARGE, "OCA\\DAV\\Connector\\Sabre\\Exception\\EntityTooLarge", message)
    }

    /// 415: a body where none is understood.
    pub(super) fn unsupported_media_type() -> Problem {
        Problem::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, "Sabre\\DAV\\Exception\\UnsupportedMediaType", "This body is not understood")
    }

    /// 416.
    pub(super) fn range_not_satisfiable() -> Problem {
        let exception = "Sabre\\DAV\\Exception\\RequestedRangeNotSatisfiable";
        Problem::new(StatusCode::RANGE_NOT_SATISFIABLE, exception, "The file has no such part")
    }

    /// 501.
    pub(super) fn not_implemented(message: impl Into<Cow<'static, str>>) -> Problem {
        Problem::new(StatusCode::NOT_IMPLEMENTED, "Sabre\\DAV\\Exception\\NotImplemented", message)
    }

    /// 502: a Destination that is not ours.
    pub(super) fn bad_gateway() -> Problem {
        Problem::new(StatusCode::BAD_GATEWAY, "Sabre\\DAV\\Exception\\BadGateway", "The Destination does not lie in this tree")
    }

    /// 500; the text is logged, not sent.
    pub(super) fn internal(text: impl Into<String>) -> Problem {
        Problem {
            internal: Some(text.into()),
            ..Problem::new(StatusCode::INTERNAL_SERVER_ERROR, "Sabre\\DAV\\Exception", "The server made a mistake; its log says more")
        }
    }

    /// The same with another status.
    pub(super) fn status(self, status: StatusCode) -> Problem {
        Problem { status, ..self }
    }

    /// The same with a condition code.
    pub(super) fn condition(self, condition: Condition) -> Problem {
        Problem { condition: Some(condition), ..self }
    }

    /// The same in the words of LOCK: another lock is in the way of the new one (RFC 4918 9.10.6).
    pub(super) fn of_lock(mut self) -> Problem {
        if let Some(Condition::LockTokenSubmitted(root)) = self.condition {
            self.condition = Some(Condition::NoConflictingLock(root));
        }
        self
    }

    /// What may be told of it in a line; what may not is logged.
    pub(super) fn told(&self, call: &Call) -> &str {
        if let Some(text) = &self.internal {
            tracing::error!(error = %text, http.method = %call.method, "a WebDAV request failed");
        }
        &self.message
    }

    /// The answer.
    pub(super) fn into_response(self, call: &Call) -> Response<Body> {
        let message = self.told(call);
        let mut writer = Writer::with_capacity(512);
        writer.markup("<?xml version=\"1.0\" encoding=\"utf-8\"?>\n<d:error xmlns:d=\"DAV:\" xmlns:s=\"http://sabredav.org/ns\">");
        writer.leaf("<s:exception>", self.exception, "</s:exception>");
        writer.leaf("<s:message>", message, "</s:message>");
        if let Some(condition) = &self.condition {
            write_condition(&mut writer, condition, call);
        }
        writer.markup("</d:error>\n");
        let mut response = Response::new(full(Bytes::from(writer.into_bytes())));
        *response.status_mut() = self.status;
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static(multistatus::writer::CONTENT_TYPE));
        if let Some(after) = self.retry_after {
            headers.insert(RETRY_AFTER, HeaderValue::from(after.as_secs().max(1)));
        }
        if self.status == StatusCode::METHOD_NOT_ALLOWED {
            headers.insert(ALLOW, HeaderValue::from_static(super::options::ALLOWED));
        }
        response
    }
}

fn write_condition(writer: &mut Writer, condition: &Condition, call: &Call) {
    match condition {
        Condition::LockTokenSubmitted(root) => {
            writer.leaf("<d:lock-token-submitted><d:href>", &call.href(root), "</d:href></d:lock-token-submitted>");
        }
        Condition::NoConflictingLock(root) => {
            writer.leaf("<d:no-conflicting-lock><d:href>", &call.href(root), "</d:href></d:no-conflicting-lock>");
        }
        Condition::LockTokenMatchesRequestUri => writer.markup("<d:lock-token-matches-request-uri/>"),
        Condition::PropfindFiniteDepth => writer.markup("<d:propfind-finite-depth/>"),
        Condition::SupportedReport => writer.markup("<d:supported-report/>"),
        Condition::ValidSyncToken => writer.markup("<d:valid-sync-token/>"),
        Condition::SyncTraversalSupported => writer.markup("<d:sync-traversal-supported/>"),
        Condition::NumberOfMatchesWithinLimits => writer.markup("<d:number-of-matches-within-limits/>"),
        Condition::ValidResourcetype => writer.markup("<d:valid-resourcetype/>"),
        Condition::NoExternalEntities => writer.markup("<d:no-external-entities/>"),
        Condition::QuotaNotExceeded => writer.markup("<d:quota-not-exceeded/>"),
    }
}

impl From<Error> for Problem {
    fn from(error: Error) -> Problem {
        let text = error.to_string();
        match error {
            Error::NotFound => Problem::not_found(),
            Error::ParentMissing => Problem::new(StatusCode::CONFLICT, "Sabre\\DAV\\Exception\\Conflict", text),
            Error::Exists => Problem::method_not_allowed("The resource you tried to create already exists"),
            Error::NotCollection => Problem::new(StatusCode::CONFLICT, "Sabre\\DAV\\Exception\\Conflict", text),
            Error::IsCollection => Problem::method_not_allowed(text),
            Error::Forbidden(_) | Error::LimitReached(_) => Problem::forbidden(text),
            Error::PreconditionFailed => Problem::precondition_failed(),
            Error::Locked(root) => {
                Problem::new(StatusCode::LOCKED, "Sabre\\DAV\\Exception\\Locked", text).condition(Condition::LockTokenSubmitted(root))
            }
            Error::NoSuchLock => Problem::new(StatusCode::CONFLICT, "Sabre\\DAV\\Exception\\LockTokenMatchesRequestUri", text)
                .condition(Condition::LockTokenMatchesRequestUri),
            Error::InsufficientStorage => {
                Problem::new(StatusCode::INSUFFICIENT_STORAGE, "Sabre\\DAV\\Exception\\InsufficientStorage", text)
                    .condition(Condition::QuotaNotExceeded)
            }
            Error::InvalidName(_) | Error::BodyMismatch(_) | Error::BodyBroken => Problem::bad_request(text),
            // Not SabreDAV's `ServiceUnavailable`: by that name ownCloud clients end the whole sync, instead of skipping the folder
            // (`protocol/clients.md` 2).
            Error::Unavailable { cause: _, retry_after } => {
                let problem = Problem::new(
                    StatusCode::SERVICE_UNAVAILABLE,
                    "OCP\\Files\\StorageNotAvailableException",
                    "Storage is temporarily not available",
                );
                Problem { retry_after: Some(retry_after), ..problem }
            }
            Error::Loop => Problem::new(StatusCode::LOOP_DETECTED, "Sabre\\DAV\\Exception", text),
            Error::Unsupported(_) => Problem::method_not_allowed(text),
            // The content is there, and the next request will see it.
            Error::Changed => Problem {
                retry_after: Some(Duration::from_secs(1)),
                ..Problem::new(StatusCode::SERVICE_UNAVAILABLE, "OCP\\Files\\StorageNotAvailableException", text)
            },
            Error::Internal(text) => Problem::internal(text),
        }
    }
}

impl From<InvalidPath> for Problem {
    fn from(error: InvalidPath) -> Problem {
        match error {
            InvalidPath::Empty | InvalidPath::Dots | InvalidPath::Separator | InvalidPath::Encoding => {
                Problem::bad_request(error.to_string())
            }
            InvalidPath::TooLong => Problem::bad_request(error.to_string()).status(StatusCode::URI_TOO_LONG),
        }
    }
}

impl From<InvalidXml> for Problem {
    fn from(error: InvalidXml) -> Problem {
        match error {
            InvalidXml::Malformed => Problem::bad_request(error.to_string()),
            InvalidXml::DocumentType => Problem::bad_request(error.to_string()).condition(Condition::NoExternalEntities),
            InvalidXml::TooLarge => Problem::too_large(error.to_string()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::OfflineCause;

    #[track_caller]
    fn check(error: Error, status: u16, condition: Option<Condition>) {
        let problem = Problem::from(error);
        assert_eq!((problem.status.as_u16(), problem.condition), (status, condition));
    }

    #[test]
    fn every_cause_has_its_status() {
        check(Error::NotFound, 404, None);
        check(Error::ParentMissing, 409, None);
        check(Error::Exists, 405, None);
        check(Error::NotCollection, 409, None);
        check(Error::IsCollection, 405, None);
        check(Error::Forbidden("no"), 403, None);
        check(Error::PreconditionFailed, 412, None);
        check(Error::Locked(TreePath::root()), 423, Some(Condition::LockTokenSubmitted(TreePath::root())));
        check(Error::NoSuchLock, 409, Some(Condition::LockTokenMatchesRequestUri));
        check(Error::LimitReached("too many"), 403, None);
        check(Error::InsufficientStorage, 507, Some(Condition::QuotaNotExceeded));
        check(Error::InvalidName("too long"), 400, None);
        check(Error::BodyMismatch("length"), 400, None);
        check(Error::BodyBroken, 400, None);
        check(Error::Loop, 508, None);
        check(Error::Unsupported("locks"), 405, None);
        check(Error::Changed, 503, None);
        check(Error::Internal("secret".to_owned()), 500, None);
    }

    #[test]
    fn what_cannot_be_reached_is_neither_absent_nor_the_end_of_a_sync() {
        for cause in [OfflineCause::Unreachable, OfflineCause::NeedsPassword, OfflineCause::Withdrawn, OfflineCause::Untrusted] {
            let problem = Problem::from(Error::Unavailable { cause, retry_after: Duration::from_secs(30) });
            assert_eq!(problem.status, StatusCode::SERVICE_UNAVAILABLE);
            assert_eq!(problem.retry_after, Some(Duration::from_secs(30)));
            // ownCloud clients end the whole sync on this name (`protocol/clients.md` 2).
            assert_ne!(problem.exception, "Sabre\\DAV\\Exception\\ServiceUnavailable");
        }
    }

    #[test]
    fn faults_of_ours_are_not_told() {
        let problem = Problem::from(Error::Internal("/srv/davroot/anna: permission denied".to_owned()));
        assert!(!problem.message.contains("davroot"));
    }
}
