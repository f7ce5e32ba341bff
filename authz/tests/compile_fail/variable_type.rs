use formwork_authz::rel;

fn main() {
    rel!("{kind}:7#assignee@user:bob");
}
