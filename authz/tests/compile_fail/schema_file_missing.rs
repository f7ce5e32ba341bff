formwork_authz::schema!(file = "access.zed");

fn main() {}
