//! The workload: one organisation of documents in folders, and users in teams, from arithmetic, so
//! that every run has the same tuples and every answer is known by construction.
//!
//! Teams are nested to depth 4 and folders to depth 6. Documents have an owner, editors, viewers, some
//! who are banned, and some are public.
#![expect(clippy::unwrap_used, reason = "a bench fails by panicking")]

use formwork_authz::{Decision, Object, Relationship, Subject};

/// In the native language.
pub const SCHEMA: &str = "
  definition user {}
  definition organization { relation admin: user }
  definition team { relation member: user | team#member }
  definition folder {
    relation parent: folder
    relation organization: organization
    relation owner: user
    relation viewer: user | team#member
    permission view = owner + viewer + parent->view + organization->admin
  }
  definition document {
    relation parent: folder
    relation owner: user
    relation editor: user | team#member
    relation viewer: user | user:* | team#member
    relation banned: user
    permission view = owner + editor + viewer + parent->view - banned
    permission edit = owner + editor - banned
  }";

/// Levels of a tree of folders.
pub const LEVELS: usize = 6;
/// Levels of teams in each other.
const NESTED: usize = 4;
/// Documents of the user with a long list.
pub const LISTED: usize = 1_000;

/// How many there are of everything: all else follows.
#[derive(Debug, Clone, Copy)]
pub struct Workload {
    documents: usize,
    users: usize,
    teams: usize,
    folders: usize,
}

/// A question and its answer.
#[derive(Debug)]
pub struct Question {
    /// Who asks.
    pub subject: Subject,
    /// For what.
    pub permission: &'static str,
    /// On which document.
    pub object: Object,
    /// What is right.
    pub answer: Decision,
}

/// Kinds of questions.
pub const KINDS: [&str; 8] =
    ["direct_hit", "direct_miss", "nested_4", "folder_6", "full_miss", "banned", "wildcard", "admin"];

fn user(n: usize) -> Subject {
    Subject::new("user", format_args!("u{n}"))
}

fn document(n: usize) -> Object {
    Object::new("document", format_args!("d{n}"))
}

fn folder(n: usize) -> Object {
    Object::new("folder", format_args!("f{n}"))
}

fn members(n: usize) -> Subject {
    Subject::userset("team", format_args!("t{n}"), "member")
}

/// Spreads numbers without a pattern.
pub fn mixed(n: usize) -> usize {
    let n = (n as u64 ^ 0x9e37_79b9).wrapping_mul(0xff51_afd7_ed55_8ccd);
    ((n ^ (n >> 33)).wrapping_mul(0xc4ce_b9fe_1a85_ec53) >> 20) as usize
}

impl Workload {
    /// About so many tuples.
    pub fn of(tuples: usize) -> Self {
        let documents = tuples / 100 * 18 / 20 * 20;
        let users = documents / 4;
        Self { documents, users, teams: users / 48 * NESTED, folders: documents / 24 * LEVELS }
    }

    fn viewer(&self, document: usize) -> usize {
        mixed(document * 3 + 1) % self.users
    }

    /// The team at the top of four.
    fn viewing_team(&self, document: usize) -> usize {
        mixed(document * 3 + 2) % (self.teams / NESTED) * NESTED
    }

    fn folder_of(&self, document: usize) -> usize {
        mixed(document * 3) % self.folders
    }

    fn root_viewer(&self, root: usize) -> usize {
        mixed(root * 5 + 1) % self.users
    }

    /// Somebody whose teams nobody has given anything.
    fn outsider(&self, n: usize) -> Subject {
        Subject::new("user", format_args!("o{}", mixed(n) % (self.users / 10)))
    }

    /// The user with the long list: they may edit [`LISTED`] documents, if there are as many.
    pub fn lister(&self) -> Subject {
        Subject::new("user", "lister")
    }

    /// The document that many users may view.
    pub fn crowded(&self) -> Object {
        Object::new("document", "crowded")
    }

    /// The tuples.
    pub fn relationships(&self) -> impl Iterator<Item = Relationship> + use<> {
        let at = |object: Object, relation: &'static str, subject: Subject| {
            Relationship::new(object, relation, subject)
        };
        let this = *self;
        let organization = || Object::new("organization", "acme");
        let team = |n: usize| Object::new("team", format_args!("t{n}"));
        let people = (0..this.users).flat_map(move |u| {
            [u % this.teams, mixed(u) % this.teams].map(|t| at(team(t), "member", user(u)))
        });
        let outsiders = (0..this.users / 10).map(move |o| {
            let idle = Object::new("team", format_args!("idle{}", o % 8));
            at(idle, "member", Subject::new("user", format_args!("o{o}")))
        });
        let admins =
            (0..10).map(move |a| at(organization(), "admin", Subject::new("user", format_args!("admin{a}"))));
        let nested =
            (0..this.teams).filter(|t| t % NESTED > 0).map(move |t| at(team(t - 1), "member", members(t)));
        let folders = (0..this.folders).flat_map(move |f| {
            let mut all = vec![at(folder(f), "owner", user(mixed(f) % this.users))];
            if f % LEVELS > 0 {
                all.push(at(folder(f), "parent", folder(f - 1).into()));
            } else {
                all.push(at(folder(f), "organization", organization().into()));
                all.push(at(folder(f), "viewer", user(this.root_viewer(f))));
                all.push(at(folder(f), "viewer", members(mixed(f) % this.teams)));
            }
            all
        });
        let documents = (0..this.documents).flat_map(move |d| {
            let mut all = vec![
                at(document(d), "parent", folder(this.folder_of(d)).into()),
                at(document(d), "owner", user(mixed(d * 7) % this.users)),
                at(document(d), "viewer", user(this.viewer(d))),
            ];
            if d % 2 == 0 {
                all.push(at(document(d), "viewer", members(this.viewing_team(d))));
                all.push(at(document(d), "editor", user(mixed(d * 11) % this.users)));
            }
            if d % 4 == 1 {
                all.push(at(document(d), "editor", members(mixed(d * 13) % this.teams)));
            }
            if d % 20 == 7 {
                all.push(at(document(d), "banned", user(this.viewer(d))));
            }
            if d % 100 == 3 {
                all.push(at(document(d), "viewer", Subject::wildcard("user")));
            }
            all
        });
        let listed = (0..LISTED.min(this.documents)).map(move |n| {
            at(document(n * (this.documents / LISTED.min(this.documents))), "editor", this.lister())
        });
        let crowd = (0..4_000.min(this.users)).map(move |u| at(this.crowded(), "viewer", user(u)));
        people
            .chain(outsiders)
            .chain(admins)
            .chain(nested)
            .chain(folders)
            .chain(documents)
            .chain(listed)
            .chain(crowd)
    }

    /// The n-th question of a kind.
    pub fn question(&self, kind: &str, n: usize) -> Question {
        // One of each block of documents, so that what is special about some does not disturb.
        let (place, blocks) = (mixed(n * 17 + 5), self.documents / 100);
        let of_block = |at: usize| place % blocks * 100 + at;
        let ask = |subject: Subject, permission, d: usize, allowed: bool| {
            let answer = if allowed { Decision::Allowed } else { Decision::Denied };
            Question { subject, permission, object: document(d), answer }
        };
        match kind {
            "direct_hit" => {
                let d = of_block(place % 4 * 20 + 2);
                ask(user(self.viewer(d)), "view", d, true)
            }
            "direct_miss" => ask(self.outsider(n), "owner", of_block(place % 97), false),
            "nested_4" => {
                let d = of_block(place % 5 * 20 + 4);
                let round = place % (self.users / self.teams);
                ask(user(self.viewing_team(d) + NESTED - 1 + round * self.teams), "view", d, true)
            }
            "folder_6" => {
                // The first document from there that lies in a folder of the last level and bans nobody.
                let deep = |d: &usize| self.folder_of(*d) % LEVELS == LEVELS - 1 && d % 20 != 7;
                let d = (0..self.documents).map(|n| (place + n) % self.documents).find(deep).unwrap();
                let root = self.folder_of(d) / LEVELS * LEVELS;
                ask(user(self.root_viewer(root)), "view", d, true)
            }
            "full_miss" => ask(self.outsider(n), "view", of_block(4 + place % 96), false),
            "banned" => {
                let d = of_block(7 + place % 5 * 20);
                ask(user(self.viewer(d)), "view", d, false)
            }
            "wildcard" => ask(self.outsider(n), "view", of_block(3), true),
            _ => ask(
                Subject::new("user", format_args!("admin{}", n % 10)),
                "view",
                of_block(place % 100),
                true,
            ),
        }
    }
}
