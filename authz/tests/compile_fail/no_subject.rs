use formwork_authz::rel;

fn main() {
    rel!("rfi:7#assignee");
}
