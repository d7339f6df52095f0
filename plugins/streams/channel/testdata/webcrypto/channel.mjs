// What two parties of a channel must agree on (docs/channels.md, sections 3, 5 and 6), with nothing but WebCrypto: what a client
// in a browser needs to open and to seal. It has no HTTP and no rules of operations. Go's tests run it against package channel.

const subtle = globalThis.crypto.subtle;
const utf8 = new TextEncoder();
const chunkBytes = 256 << 10, tagBytes = 16, padding = 256, saltBytes = 32;

// Bytes.

export function bytes(...parts) {
  const list = parts.map((p) => (typeof p === "string" ? utf8.encode(p) : new Uint8Array(p)));
  const all = new Uint8Array(list.reduce((n, p) => n + p.length, 0));
  let at = 0;
  for (const p of list) {
    all.set(p, at);
    at += p.length;
  }
  return all;
}

function number(n, size) {
  const b = new Uint8Array(size);
  for (let i = size - 1, left = BigInt(n); i >= 0; i--, left >>= 8n) b[i] = Number(left & 255n);
  return b;
}

export const u16 = (n) => number(n, 2), u32 = (n) => number(n, 4), u64 = (n) => number(n, 8);
export const hex = (b) => Array.from(bytes(b), (x) => x.toString(16).padStart(2, "0")).join("");
export const unhex = (s) => Uint8Array.from(s.match(/../g) ?? [], (x) => parseInt(x, 16));
export const same = (a, b) => hex(a) === hex(b);
export const random = (n) => globalThis.crypto.getRandomValues(new Uint8Array(n));

export function base64(b) {
  let s = "";
  for (const x of b) s += String.fromCharCode(x);
  return btoa(s).replaceAll("+", "-").replaceAll("/", "_").replaceAll("=", "");
}

export const unbase64 = (s) => Uint8Array.from(atob(s.replaceAll("-", "+").replaceAll("_", "/")), (c) => c.charCodeAt(0));

const digits = "123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz";

export function base58(b) {
  let s = "";
  for (let n = BigInt("0x0" + hex(b)); n > 0n; n /= 58n) s = digits[Number(n % 58n)] + s;
  return "1".repeat(b.findIndex((x) => x !== 0)) + s;
}

export function unbase58(s) {
  let n = 0n;
  for (const c of s) n = n * 58n + BigInt(digits.indexOf(c));
  const h = n.toString(16);
  return bytes(new Uint8Array(s.match(/^1*/)[0].length), unhex(h.length % 2 ? "0" + h : h));
}

// canonical is RFC 8785: ECMAScript's own numbers and strings, members in the order of their UTF-16 names.
export function canonical(v) {
  if (Array.isArray(v)) return "[" + v.map(canonical).join(",") + "]";
  if (v === null || typeof v !== "object") return JSON.stringify(v);
  return "{" + Object.keys(v).sort().map((k) => JSON.stringify(k) + ":" + canonical(v[k])).join(",") + "}";
}

// Primitives.

export const sha256 = async (...parts) => new Uint8Array(await subtle.digest("SHA-256", bytes(...parts)));

export async function derive(secret, label, context, n) {
  const key = await subtle.importKey("raw", secret, "HKDF", false, ["deriveBits"]);
  const terms = { name: "HKDF", hash: "SHA-256", salt: new Uint8Array(), info: bytes("weft/channel/" + label + "/1", context) };
  return new Uint8Array(await subtle.deriveBits(terms, key, n * 8));
}

async function encrypt(key, iv, aad, plain) {
  const k = await subtle.importKey("raw", key, "AES-GCM", false, ["encrypt"]);
  return new Uint8Array(await subtle.encrypt({ name: "AES-GCM", iv, additionalData: aad }, k, plain));
}

async function decrypt(key, iv, aad, sealed) {
  const k = await subtle.importKey("raw", key, "AES-GCM", false, ["decrypt"]);
  return new Uint8Array(await subtle.decrypt({ name: "AES-GCM", iv, additionalData: aad }, k, sealed));
}

// privateKey takes the 32 bytes of an X25519 or Ed25519 key: PKCS #8 (RFC 8410) with its fixed front.
async function privateKey(secret, algorithm, usage) {
  const curve = algorithm === "X25519" ? 0x6e : 0x70;
  const front = unhex("302e020100300506032b65" + hex([curve]) + "04220420");
  return subtle.importKey("pkcs8", bytes(front, secret), algorithm, true, [usage]);
}

export async function publicOf(secret, algorithm = "X25519") {
  const k = await privateKey(secret, algorithm, algorithm === "X25519" ? "deriveBits" : "sign");
  return unbase64((await subtle.exportKey("jwk", k)).x);
}

// HPKE in base mode (RFC 9180): DHKEM(X25519, HKDF-SHA256), HKDF-SHA256, AES-256-GCM. All lengths are at most one hash.

const kem = bytes("KEM", u16(0x20)), suite = bytes("HPKE", u16(0x20), u16(1), u16(2));

async function hmac(key, ...parts) {
  const k = await subtle.importKey("raw", key.length ? key : new Uint8Array(32), { name: "HMAC", hash: "SHA-256" }, false, ["sign"]);
  return new Uint8Array(await subtle.sign("HMAC", k, bytes(...parts)));
}

const extract = (id, salt, label, text) => hmac(salt, "HPKE-v1", id, label, text);
const expand = async (id, secret, label, info, n) => (await hmac(secret, u16(n), "HPKE-v1", id, label, info, [1])).slice(0, n);

async function agree(secret, peer, enc, receiver) {
  const there = await subtle.importKey("raw", peer, "X25519", false, []);
  const dh = await subtle.deriveBits({ name: "X25519", public: there }, await privateKey(secret, "X25519", "deriveBits"), 256);
  return expand(kem, await extract(kem, [], "eae_prk", dh), "shared_secret", bytes(enc, receiver), 32);
}

async function schedule(shared, info) {
  const context = bytes([0], await extract(suite, [], "psk_id_hash", []), await extract(suite, [], "info_hash", info));
  const secret = await extract(suite, shared, "secret", []);
  const exporter = await expand(suite, secret, "exp", context, 32);
  return {
    key: await expand(suite, secret, "key", context, 32), iv: await expand(suite, secret, "base_nonce", context, 12),
    export: (to, n) => expand(suite, exporter, "sec", to, n),
  };
}

export const hpkeReceiver = async (secret, enc, info) => schedule(await agree(secret, enc, enc, await publicOf(secret)), info);

export async function hpkeOpen(secret, info, sealed, aad = []) {
  const c = await hpkeReceiver(secret, sealed.slice(0, 32), info);
  return decrypt(c.key, c.iv, bytes(aad), sealed.slice(32));
}

export async function hpkeSeal(receiver, info, plain, ephemeral = random(32)) {
  const enc = await publicOf(ephemeral);
  const c = await schedule(await agree(ephemeral, receiver, enc, receiver), info);
  return bytes(enc, await encrypt(c.key, c.iv, new Uint8Array(), plain));
}

// Epochs: channel is 32 bytes, number counts from 1, key is 32 bytes.

const context = (channel, epoch) => bytes(channel, u32(epoch));
const zeroIV = new Uint8Array(12);
const wrapInfo = (channel, epoch, to) => bytes("weft/channel/wrap/1", context(channel, epoch), to);

export const commit = (key, channel, epoch) => derive(key, "commit", context(channel, epoch), 32);
export const sealing = (key, channel, epoch) => derive(key, "seal", context(channel, epoch), 32);
export const wrap = (key, channel, epoch, to, receiver) => hpkeSeal(receiver, wrapInfo(channel, epoch, to), key);
export const unwrap = (secret, channel, epoch, to, sealed) => hpkeOpen(secret, wrapInfo(channel, epoch, to), sealed);

export async function chain(key, channel, epoch, before) {
  return encrypt(await derive(key, "previous", context(channel, epoch), 32), zeroIV, context(channel, epoch), before);
}

export async function unchain(key, channel, epoch, previous) {
  return decrypt(await derive(key, "previous", context(channel, epoch), 32), zeroIV, context(channel, epoch), previous);
}

// check throws if a key is not that of an epoch as its operation says.
export async function check(key, channel, e) {
  if (!same(await commit(key, channel, e.number), unhex(e.commit))) throw new Error("bad_wrap: commit of epoch " + e.number);
  if (!same(await publicOf(await sealing(key, channel, e.number)), unbase64(e.publicKey))) throw new Error("bad_wrap: publicKey of epoch " + e.number);
}

// walk opens all epochs from the newest down, as a late joiner does.
export async function walk(key, channel, epochs) {
  const keys = {};
  for (const e of [...epochs].sort((a, b) => b.number - a.number)) {
    await check(key, channel, e);
    keys[e.number] = key;
    if (e.previous) key = await unchain(key, channel, e.number, unbase64(e.previous));
  }
  return keys;
}

export async function newEpoch(key, channel, epoch, before) {
  const e = { number: epoch, commit: hex(await commit(key, channel, epoch)), publicKey: base64(await publicOf(await sealing(key, channel, epoch))), wraps: [] };
  if (before) e.previous = base64(await chain(key, channel, epoch, before));
  return e;
}

// Heads and names.

const sized = (s) => bytes(u16(utf8.encode(s).length), s);

export const channelID = (network, actor, nonce) => sha256("weft/channel/id/1", network, sized(actor), nonce);
export const firstHead = (channel) => sha256("weft/channel/head/1", channel);
export const nextHead = (head, event, seq, entry, position, index, time) =>
  sha256("weft/channel/head/1", head, u64(event), u64(seq), entry, u64(position), u32(index), u64(time));

// Records: an operation is an object; its body and proof are no part of what a chunk is bound to.

export async function recordKey(secret, channel, actor, nonce) {
  const b = await derive(secret, "record", bytes(channel, sized(actor), nonce), 39);
  return { key: b.slice(0, 32), prefix: b.slice(32) };
}

const sealedInfo = (channel, epoch, nonce) => bytes("weft/channel/sealed/1", context(channel, epoch), nonce);
const chunkIV = (prefix, n, last) => bytes(prefix, u32(n), [last ? 1 : 0]);
const front = (salt, meta, size) => bytes(salt, u32(meta.length), meta, u64(size));

export const contentHash = (salt, meta, payload) => sha256("weft/channel/content/1", front(salt, meta, payload.length), payload);

async function keysOf(secret, op) {
  const channel = unhex(op.channel), nonce = unbase64(op.nonce);
  if (op.body?.key) secret = await hpkeOpen(await sealing(secret, channel, op.epoch), sealedInfo(channel, op.epoch, nonce), unbase64(op.body.key));
  return recordKey(secret, channel, op.actor, nonce);
}

// seal makes a whole write and its stored chunks. sealer is {epoch, key} or, for whoever may only write, {epoch, publicKey}.
export async function seal(sealer, header, meta, payload, detached, salt = random(saltBytes)) {
  const text = utf8.encode(canonical(meta));
  const op = { ...header, epoch: sealer.epoch, contentHash: hex(await contentHash(salt, text, payload)) };
  const aad = utf8.encode(canonical(op)), body = {}, channel = unhex(op.channel);
  const secret = sealer.key ?? random(32);
  if (!sealer.key) body.key = base64(await hpkeSeal(sealer.publicKey, sealedInfo(channel, op.epoch, unbase64(op.nonce)), secret));
  const { key, prefix } = await recordKey(secret, channel, op.actor, unbase64(op.nonce));
  let plain = bytes(front(salt, text, payload.length), payload);
  plain = bytes(plain, new Uint8Array((padding - (plain.length % padding)) % padding));
  const chunks = [];
  for (let at = 0; at < plain.length; at += chunkBytes - tagBytes) {
    const part = plain.slice(at, at + chunkBytes - tagBytes);
    chunks.push(await encrypt(key, chunkIV(prefix, chunks.length, at + part.length === plain.length), aad, part));
  }
  if (detached) body.blob = { root: hex(await root(await Promise.all(chunks.map(leaf)))), size: bytes(...chunks).length, chunks: chunks.length };
  else body.ciphertext = base64(chunks[0]);
  return { op: { ...op, body }, chunks };
}

// open opens a write; chunks are those of a detached body.
export async function open(secret, op, chunks) {
  const { body, proof, ...header } = op;
  const { key, prefix } = await keysOf(secret, op);
  const aad = utf8.encode(canonical(header)), stored = body.blob ? chunks : [unbase64(body.ciphertext)];
  if (body.blob && hex(await root(await Promise.all(stored.map(leaf)))) !== body.blob.root) throw new Error("bad_content: root");
  const plain = bytes(...(await Promise.all(stored.map((c, n) => decrypt(key, chunkIV(prefix, n, n === stored.length - 1), aad, c)))));
  const view = new DataView(plain.buffer), metaEnd = saltBytes + 4 + view.getUint32(saltBytes);
  const size = Number(view.getBigUint64(metaEnd)), salt = plain.slice(0, saltBytes), meta = plain.slice(saltBytes + 4, metaEnd);
  const payload = plain.slice(metaEnd + 8, metaEnd + 8 + size);
  if (payload.length !== size || hex(await contentHash(salt, meta, payload)) !== op.contentHash) throw new Error("bad_content");
  return { salt, meta: new TextDecoder().decode(meta), payload };
}

// Payloads beside the ledger: RFC 6962.

export const leaf = (chunk) => sha256([0], chunk);

export async function root(leaves) {
  if (leaves.length === 1) return leaves[0];
  let k = 1;
  while (k * 2 < leaves.length) k *= 2;
  return sha256([1], await root(leaves.slice(0, k)), await root(leaves.slice(k)));
}

// Profiles of hidden channels, and notes of requests.

const profileKey = (key, channel, nonce) => derive(key, "profile", bytes(channel, nonce), 32);
const enclosureInfo = (channel, to) => bytes("weft/channel/enclosure/1", channel, to);

export async function sealProfile(key, channel, actor, nonce, profile) {
  return base64(await encrypt(await profileKey(key, channel, nonce), zeroIV, utf8.encode(actor), utf8.encode(canonical(profile))));
}

export async function openProfile(key, channel, actor, nonce, sealed) {
  return JSON.parse(new TextDecoder().decode(await decrypt(await profileKey(key, channel, nonce), zeroIV, utf8.encode(actor), unbase64(sealed))));
}

export const sealEnclosure = (channel, to, receiver, text) => hpkeSeal(receiver, enclosureInfo(channel, to), text);
export const openEnclosure = (secret, channel, to, sealed) => hpkeOpen(secret, enclosureInfo(channel, to), sealed);

// Proofs: eddsa-jcs-2022 by a did:key, for authentication.

export const multikey = (key, code = 0xed) => "z" + base58(bytes([code, 1], key));

async function signed(body, method) {
  const options = { type: "DataIntegrityProof", cryptosuite: "eddsa-jcs-2022", proofPurpose: "authentication", verificationMethod: method };
  return { options, data: bytes(await sha256(canonical(options)), await sha256(canonical(body))) };
}

// sign makes the entry's bytes out of an operation without a proof.
export async function sign(body, secret) {
  const key = multikey(await publicOf(secret, "Ed25519"));
  const { options, data } = await signed(body, "did:key:" + key + "#" + key);
  const signature = await subtle.sign("Ed25519", await privateKey(secret, "Ed25519", "sign"), data);
  return canonical({ ...body, proof: [{ ...options, proofValue: "z" + base58(new Uint8Array(signature)) }] });
}

export async function verify(op) {
  const { proof: [one], ...body } = op;
  const { data } = await signed(body, one.verificationMethod);
  const key = await subtle.importKey("raw", unbase58(one.verificationMethod.split("#z")[1]).slice(2), "Ed25519", false, ["verify"]);
  return subtle.verify("Ed25519", key, unbase58(one.proofValue.slice(1)), data);
}
