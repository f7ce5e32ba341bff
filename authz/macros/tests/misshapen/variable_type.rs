use formwork_authz_macros::rel;

fn main() {
    rel!("{kind}:7#assignee@user:bob");
}
