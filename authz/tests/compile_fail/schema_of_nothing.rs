formwork_authz::schema!(7);

fn main() {}
