use formwork_authz::rel;

fn main() {
    rel!("rfi:{rfi.id}#assignee@user:bob");
}
