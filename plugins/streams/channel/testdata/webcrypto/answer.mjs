// Answers what TestWebCrypto gives: the vectors, everything that Go sealed in clear, and operations for Go to apply and open.

import * as c from "./channel.mjs";

const text = (b) => new TextDecoder().decode(b);

export async function answer(given) {
  return { vectors: await vectors(given.vectors), hpke: await hpke(given.hpke), opened: await opened(given.sealed), made: await made(given.author) };
}

// vectors computes what testdata/vectors.json lists, by its names.
async function vectors(v) {
  const key = c.unhex(v.key), channel = c.unhex(v.channel), nonce = c.unhex(v.nonce), previous = await c.chain(key, channel, 4, c.unhex(v.before));
  const record = await c.recordKey(key, channel, v.actor, nonce), head0 = await c.firstHead(channel);
  const made = {
    channelId: await c.channelID(c.unhex(v.network), v.actor, nonce), commit: await c.commit(key, channel, 4),
    publicKey: await c.publicOf(await c.sealing(key, channel, 4)), previous, recordKey: record.key, ivPrefix: record.prefix, head0,
    contentHash: await c.contentHash(c.unhex(v.salt), c.bytes(v.meta), c.bytes(v.payload)),
    head1: await c.nextHead(head0, 1, 1, c.unhex(v.entry), 48213, 0, 1790000000000),
    wrap: c.same(await c.unwrap(c.unhex(v.secret), channel, 4, v.to, c.unhex(v.wrap)), key) ? c.unhex(v.wrap) : [],
    before: await c.unchain(key, channel, 4, previous),
  };
  return Object.fromEntries(Object.entries(made).map(([name, b]) => [name, c.hex(b)]));
}

// hpke opens the vector of the RFC's suite that channels use.
async function hpke(v) {
  const receiver = await c.hpkeReceiver(c.unhex(v.skRm), c.unhex(v.enc), c.unhex(v.info));
  return {
    key: c.hex(receiver.key), base_nonce: c.hex(receiver.iv), exported: c.hex(await receiver.export(c.bytes("TestContext"), 32)),
    pt: c.hex(await c.hpkeOpen(c.unhex(v.skRm), c.unhex(v.info), c.unhex(v.enc + v.ct), c.unhex(v.aad))),
    enc: c.hex((await c.hpkeSeal(c.unhex(v.pkRm), c.unhex(v.info), c.bytes("x"), c.unhex(v.skEm))).slice(0, 32)),
  };
}

// opened is a late joiner: from one wrap to every record, the profile and a note.
async function opened(s) {
  const channel = c.unhex(s.channel), secret = c.unhex(s.secret), newest = Math.max(...s.epochs.map((e) => e.number));
  const keys = await c.walk(await c.unwrap(secret, channel, newest, s.to, c.unbase64(s.wrap)), channel, s.epochs);
  const records = [];
  for (const r of s.records) {
    const op = JSON.parse(r.entry);
    if (c.canonical(op) !== r.entry) throw new Error("not canonical: " + r.entry);
    const content = await c.open(keys[op.epoch], op, r.chunks?.map(c.unbase64));
    records.push({ verified: await c.verify(op), meta: content.meta, payload: c.base64(content.payload), seals: await sealsAgain(keys[op.epoch], op, content, r.chunks) });
  }
  return {
    records, profile: await c.openProfile(keys[1], channel, s.profile.actor, c.unbase64(s.profile.nonce), s.profile.sealed),
    note: text(await c.openEnclosure(secret, channel, s.to, c.unbase64(s.note))),
  };
}

// sealsAgain says whether the same salt and key give the same ciphertext; a record with a key of its own has another each time.
async function sealsAgain(key, op, content, chunks) {
  if (op.body.key) return true;
  const { body, proof, contentHash, epoch, ...header } = op;
  const again = await c.seal({ epoch, key }, header, JSON.parse(content.meta), content.payload, !!body.blob, content.salt);
  return c.canonical(again.op.body) === c.canonical(body) && again.chunks.every((b, n) => !chunks || c.base64(b) === chunks[n]);
}

// made are operations of a client that has nothing but this: a new epoch for its readers, records under it, a note.
async function made(a) {
  const channel = c.unhex(a.channel), key = c.random(32), before = c.unbase64(a.before), number = a.epoch;
  const header = async (op, who) => ({
    type: "weft/channel/1", op, network: a.network, channel: a.channel, actor: who.did, nonce: c.base64(c.random(16)), created: a.created,
    notAfter: a.notAfter, after: { event: 0, head: c.hex(await c.firstHead(channel)) },
  });
  const epoch = await c.newEpoch(key, channel, number, before);
  for (const r of a.readers) epoch.wraps.push({ to: r.to, ct: c.base64(await c.wrap(key, channel, number, r.to, c.unbase64(r.public))) });
  const rekey = await c.sign({ ...(await header("rekey", a.owner)), reason: "scheduled", epoch }, c.unhex(a.owner.seed));
  const write = async (who, sealer, payload, detached) => {
    const sealed = await c.seal(sealer, { ...(await header("write", who)), recordType: "note" }, { mediaType: "text/plain", name: "café \u{1F512} \u2028" }, payload, detached);
    return { entry: await c.sign(sealed.op, c.unhex(who.seed)), chunks: detached ? sealed.chunks.map(c.base64) : [] };
  };
  const note = c.base64(await c.sealEnclosure(channel, a.readers[0].to, c.unbase64(a.readers[0].public), c.bytes("let me in")));
  const request = { ...(await header("request", a.guest)), rights: ["read"], agreement: a.guest.agreement, enclosure: [{ to: a.readers[0].to, ct: note }] };
  return {
    rekey, request: await c.sign(request, c.unhex(a.guest.seed)),
    inline: await write(a.owner, { epoch: number, key }, c.bytes("from a browser"), false),
    detached: await write(a.owner, { epoch: number, key }, new Uint8Array(300000).fill(7), true),
    writeOnly: await write(a.sensor, { epoch: number, publicKey: c.unbase64(epoch.publicKey) }, c.bytes("21.5"), false),
    profile: await c.sealProfile(key, channel, a.owner.did, new Uint8Array(16), { name: "from a browser" }),
    key: c.base64(key),
  };
}
