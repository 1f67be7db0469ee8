//! REPORT: none is offered yet, and none is advertised.

use http::Response;

use crate::limits::XML_BODY_BYTES_MAX;
use crate::protocol::dav::problem::{Condition, Problem, Result};
use crate::protocol::dav::request::Payload;
use crate::wire::{Body, xml};

/// Says that the report is not offered (RFC 3253 3.6).
pub(super) async fn report(payload: &Payload) -> Result<Response<Body>> {
    xml::parse(&payload.bytes(XML_BODY_BYTES_MAX).await?)?;
    Err(Problem::forbidden("This report is not offered").condition(Condition::SupportedReport))
}
