//! The doors of what is shared with users of other servers: `/public.php/webdav` and `shareinfo`, where the secret stands in the place of a
//! link's token, and `/remote.php/dav/ocm/NUMBER` (`protocol/ocm.md` 1.5).

use std::sync::Arc;

use http::{Request, Response};

use super::answers;
use super::basic::{Credentials, bearer, credentials};
use super::http::Asked;
use crate::domain::{Kind, Share};
use crate::protocol::dav::{self, Place};
use crate::service::sharing::Closed;
use crate::tree::View;
use crate::wire::Body;

impl Asked<'_> {
    /// What a secret opens.
    pub(super) fn sent_share(&self, secret: &str) -> Result<Arc<Share>, Closed> {
        self.app.services.federation().open(secret)
    }

    /// The tree that a share shows, its door passed.
    pub(super) async fn sent_view(&self, share: &Share) -> crate::domain::Result<View> {
        self.app.services.federation().view(share, self.via.clone()).await
    }

    /// `/remote.php/dav/ocm/NUMBER`: the secret comes as Bearer, or as the name of Basic. Without the right one there is nothing to see.
    pub(super) async fn sent_by_number(self, request: Request<Body>, root: String, id: &str) -> Response<Body> {
        let headers = request.headers();
        let given = bearer(headers).or_else(|| credentials(headers).map(|Credentials { name, .. }| name));
        let Some(secret) = given else { return answers::unauthorized() };
        match self.app.services.federation().open_numbered(id, secret.expose(), self.client.address) {
            Ok(share) => self.serve_sent(request, root, &share).await,
            Err(Closed::Unknown) => answers::unauthorized(),
            Err(closed) => self.closed(closed),
        }
    }

    /// Answers from the tree of a share. A shared file is the root itself.
    pub(super) async fn serve_sent(&self, request: Request<Body>, root: String, share: &Share) -> Response<Body> {
        let prefix = &self.app.prefix;
        let numbered = |root: &str| format!("{prefix}{root}/{}", share.id.0);
        let aliases = vec![format!("{prefix}/public.php/webdav"), numbered("/remote.php/dav/ocm"), numbered("/dav/ocm")];
        let single_file = share.kind == Kind::File;
        let root = dav::Root { single_file, name: Some(share.name.clone()), ..self.root(root, aliases) };
        self.serve(Place::Files, request, root, self.sent_view(share).await).await
    }
}
