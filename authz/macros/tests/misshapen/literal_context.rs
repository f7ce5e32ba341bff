use formwork_authz_macros::rel;

fn main() {
    rel!("rfi:7#assignee@user:bob[in_hours:{}]");
}
