//! `POST /ocm/invite-accepted`: somebody elsewhere takes an invitation of one of our users up (`protocol/ocm.md` 1.7).

use http::{Response, StatusCode};

use super::signed::Came;
use super::{answer, failed, refuse, wait};
use crate::service::Services;
use crate::service::federation::NotTakenUp;
use crate::wire::Body;
use crate::wire::invite::InviteAccepted;

pub(super) async fn accepted(call: &Came, services: &Services) -> Response<Body> {
    let Some(accepted) = InviteAccepted::parse(&call.body) else { return refuse(StatusCode::BAD_REQUEST, "the body is no JSON object") };
    let believed = match call.believe(services, &services.federation().claims_of_acceptance(&accepted)).await {
        Ok(believed) => believed,
        Err(refused) => return *refused,
    };
    match services.federation().invite_accepted(&accepted, call.from).await {
        Ok(inviter) => {
            services.federation().keep_keys(believed).await;
            answer(StatusCode::OK, &inviter.body())
        }
        Err(problem) => {
            let text = problem.to_string();
            match problem {
                NotTakenUp::Invalid(_) | NotTakenUp::Unknown => refuse(StatusCode::BAD_REQUEST, &text),
                NotTakenUp::Refused => refuse(StatusCode::FORBIDDEN, &text),
                NotTakenUp::Taken => refuse(StatusCode::CONFLICT, &text),
                NotTakenUp::Throttled(time) => wait(refuse(StatusCode::TOO_MANY_REQUESTS, &text), time),
                NotTakenUp::Failed(refusal) => failed(&refusal.text),
            }
        }
    }
}
