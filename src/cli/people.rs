//! How invitations and contacts are printed.

use super::output::Out;
use crate::service::admin::{ContactRow, InviteRow, Outcome};

impl Out {
    /// What came of a command about people.
    pub(super) fn people(self, outcome: &Outcome) {
        if let Outcome::Invitation(row) = outcome {
            self.invitation(row);
        } else if let Outcome::Invitations(rows) = outcome {
            self.invitations(rows);
        } else if let Outcome::Contact(row) = outcome {
            self.contact(row);
        } else if let Outcome::Contacts(rows) = outcome {
            self.contacts(rows);
        }
    }

    /// A new invitation: what to hand on, alone on its lines.
    fn invitation(self, row: &InviteRow) {
        for text in [&row.invite, &row.link].into_iter().flatten() {
            self.line(text.expose());
        }
    }

    fn invitations(self, rows: &[InviteRow]) {
        let cells = |row: &InviteRow| {
            let dash = || "-".to_owned();
            let accepted = row.accepted.clone().unwrap_or_else(dash);
            vec![row.id.to_string(), row.state.clone(), row.expires.clone().unwrap_or_else(dash), accepted, row.note.clone()]
        };
        self.table(&["ID", "STATE", "LAST DAY", "ACCEPTED BY", "NOTE"], rows.iter().map(cells));
    }

    fn contact(self, row: &ContactRow) {
        let name: String = row.name.chars().filter(|letter| !letter.is_control()).collect();
        self.line(&format!("contact {}: {} ({name})", row.id, row.address));
    }

    fn contacts(self, rows: &[ContactRow]) {
        let cells =
            |row: &ContactRow| vec![row.id.to_string(), row.address.clone(), row.name.clone(), row.email.clone(), row.since.clone()];
        self.table(&["ID", "ADDRESS", "NAME", "E-MAIL", "SINCE"], rows.iter().map(cells));
    }
}
