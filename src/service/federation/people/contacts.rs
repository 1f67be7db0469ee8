//! Whom a user knows on other servers.

use crate::domain::{Contact, User};
use crate::service::Refusal;
use crate::service::federation::Federation;
use crate::service::refusal::Result;
use crate::store::{Batch, Record, Table, received_prefix};

impl Record for Contact {
    const TABLE: Table = Table::Contacts;
    fn key(&self) -> Vec<u8> {
        [&received_prefix(self.space)[..], &self.id.to_be_bytes()].concat()
    }
}

impl Federation {
    /// The contacts of a user, oldest first.
    ///
    /// # Errors
    /// Where the store fails.
    pub fn contacts_of(&self, user: &User) -> Result<Vec<Contact>> {
        Ok(self.store.list_below::<Contact>(&received_prefix(user.space))?)
    }

    /// Forgets a contact of a user. What is shared stays, and their server is not told.
    ///
    /// # Errors
    /// Where the user has none of that number.
    pub async fn remove_contact(&self, user: &User, id: u64) -> Result<Contact> {
        let _changing = self.offers.people.lock().await;
        let found = self.contacts_of(user)?.into_iter().find(|contact| contact.id == id);
        let missing = || {
            Refusal::not_found(format!("`{}` has no contact {id}; `causeway contact list {}` shows which there are", user.name, user.name))
        };
        let found = found.ok_or_else(missing)?;
        self.store.commit(Batch::new().delete::<Contact>(&found.key())).await?;
        Ok(found)
    }
}
