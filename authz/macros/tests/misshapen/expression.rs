use formwork_authz_macros::rel;

fn main() {
    rel!("rfi:{rfi.id}#assignee@user:bob");
}
