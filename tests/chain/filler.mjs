// A small validator client over the standard Beacon API, for the validators that are not the cluster's: it proposes for
// all of them, attests, aggregates and keeps the chain finalising. Raw fetch and BLS; nothing of Lodestar's own client.
//
// Usage: node filler.mjs CONFIG.json, with {url, first, last}: the interop keys that it holds. It proposes no block for
// other validators, so slots of the cluster's validators stay empty until the cluster proposes for itself.
// It ends when its standard input closes, and so with its parent.
import {createHash} from "node:crypto";
import {readFileSync} from "node:fs";
import blst from "@chainsafe/blst";

process.env.LODESTAR_PRESET = "mainnet";
process.stdin.on("end", () => process.exit(0)).resume();
const {ssz, sszTypesFor} = await import("@lodestar/types");
const options = JSON.parse(readFileSync(process.argv[2]));

const DOMAIN = {proposer: 0, attester: 1, randao: 2, selection: 5, aggregate: 6};
const FORKS = ["phase0", "altair", "bellatrix", "capella", "deneb", "electra", "fulu"];
const sha256 = (...parts) => createHash("sha256").update(Buffer.concat(parts.map((part) => Buffer.from(part)))).digest();
const hex = (bytes) => "0x" + Buffer.from(bytes).toString("hex");
const unhex = (text) => Buffer.from(text.slice(2), "hex");

const keys = new Map();
for (let i = options.first; i <= options.last; i++) {
  const key = blst.SecretKey.fromBytes(interopSecret(i));
  keys.set(hex(key.toPublicKey().toBytes()), key);
}

const spec = (await get("/eth/v1/config/spec")).data;
const genesis = (await get("/eth/v1/beacon/genesis")).data;
const forks = (await get("/eth/v1/config/fork_schedule")).data.map((fork) => ({epoch: +fork.epoch, version: fork.current_version})).sort((a, b) => a.epoch - b.epoch);
const slotsPerEpoch = +spec.SLOTS_PER_EPOCH;
const slotMs = +(spec.SLOT_DURATION_MS ?? spec.SECONDS_PER_SLOT * 1000);
const genesisMs = +genesis.genesis_time * 1000;
const validators = (await get("/eth/v1/beacon/states/head/validators")).data.filter((v) => keys.has(v.validator.pubkey));
const indices = validators.map((v) => v.index);
console.log(`driving ${indices.length} validators of ${keys.size} keys, ${slotMs} ms slots`);

const attesters = new Map();
const proposers = new Map();
const done = {blocks: 0, attestations: 0, aggregates: 0, errors: 0};
let slot = Math.max(1, Math.floor((Date.now() - genesisMs) / slotMs) + 1);
await loadDuties(Math.floor(slot / slotsPerEpoch));
for (; ; slot++) {
  const [now, epoch] = [slot, Math.floor(slot / slotsPerEpoch)];
  await until(now, 0.01);
  await tried("duties", () => loadDuties(epoch));
  await tried("block", () => propose(now, epoch));
  await until(now, 0.34);
  await tried("attestations", () => attest(now, epoch));
  await until(now, 0.67);
  await tried("aggregates", () => aggregate(now, epoch, 0));
  await until(now, 0.95);
  await tried("late aggregates", () => aggregate(now, epoch, 1));
  if (now % slotsPerEpoch === slotsPerEpoch - 2) await tried("next duties", () => loadDuties(epoch + 1));
  if (now % slotsPerEpoch === slotsPerEpoch - 1) console.log("epoch", epoch, JSON.stringify(done));
}

async function loadDuties(epoch) {
  if (attesters.has(epoch)) return;
  const duties = (await post(`/eth/v1/validator/duties/attester/${epoch}`, indices)).data;
  for (const duty of duties) {
    duty.selectionProof = sign(duty.pubkey, ssz.Slot.hashTreeRoot(+duty.slot), DOMAIN.selection, epoch);
    const modulo = BigInt(Math.max(1, Math.floor(+duty.committee_length / 16)));
    duty.isAggregator = sha256(unhex(duty.selectionProof)).readBigUInt64LE(0) % modulo === 0n;
  }
  const proposals = (await get(`/eth/v1/validator/duties/proposer/${epoch}`)).data.filter((duty) => keys.has(duty.pubkey));
  // Without it the node begins to build a payload only when asked for the block, and waits half a second for it.
  await post("/eth/v1/validator/prepare_beacon_proposer", indices.map((index) => ({validator_index: index, fee_recipient: "0x" + "aa".repeat(20)})));
  attesters.set(epoch, duties);
  proposers.set(epoch, proposals);
  attesters.delete(epoch - 2);
  proposers.delete(epoch - 2);
}

async function propose(slot, epoch) {
  for (const duty of proposers.get(epoch).filter((duty) => +duty.slot === slot)) {
    const randao = sign(duty.pubkey, ssz.Epoch.hashTreeRoot(epoch), DOMAIN.randao, epoch);
    const produced = await get(`/eth/v3/validator/blocks/${slot}?randao_reveal=${randao}&graffiti=${hex(Buffer.alloc(32, "filler"))}&builder_boost_factor=0`);
    const {block, kzg_proofs, blobs} = produced.data;
    const Block = sszTypesFor(produced.version).BeaconBlock;
    const signature = sign(duty.pubkey, Block.hashTreeRoot(Block.fromJson(block)), DOMAIN.proposer, epoch);
    await post("/eth/v2/beacon/blocks", {signed_block: {message: block, signature}, kzg_proofs, blobs}, {"eth-consensus-version": produced.version});
    done.blocks++;
  }
}

async function attest(slot, epoch) {
  const duties = attesters.get(epoch).filter((duty) => +duty.slot === slot);
  if (!duties.length) return;
  const data = (await get(`/eth/v1/validator/attestation_data?slot=${slot}&committee_index=0`)).data;
  const root = ssz.phase0.AttestationData.hashTreeRoot(ssz.phase0.AttestationData.fromJson(data));
  const body = duties.map((duty) => ({
    committee_index: duty.committee_index,
    attester_index: duty.validator_index,
    data,
    signature: sign(duty.pubkey, root, DOMAIN.attester, +data.target.epoch),
  }));
  for (const duty of duties) duty.dataRoot = hex(root);
  await post("/eth/v2/beacon/pool/attestations", body, {"eth-consensus-version": forkAt(epoch)});
  done.attestations += body.length;
}

// The node packs only aggregates into blocks. A chain has many aggregators, and late votes reach a later one; here the
// first aggregator of a committee works at two thirds of the slot, the second takes in what came until its end.
async function aggregate(slot, epoch, place) {
  const byCommittee = Map.groupBy(
    attesters.get(epoch).filter((duty) => +duty.slot === slot && duty.isAggregator && duty.dataRoot),
    (duty) => duty.committee_index
  );
  const body = [];
  for (const duty of [...byCommittee.values()].map((duties) => duties[place]).filter(Boolean)) {
    const found = await get(`/eth/v2/validator/aggregate_attestation?attestation_data_root=${duty.dataRoot}&slot=${slot}&committee_index=${duty.committee_index}`);
    const message = {aggregator_index: duty.validator_index, aggregate: found.data, selection_proof: duty.selectionProof};
    const Proof = sszTypesFor(found.version).AggregateAndProof;
    body.push({message, signature: sign(duty.pubkey, Proof.hashTreeRoot(Proof.fromJson(message)), DOMAIN.aggregate, epoch)});
  }
  if (!body.length) return;
  await post("/eth/v2/validator/aggregate_and_proofs", body, {"eth-consensus-version": forkAt(epoch)});
  done.aggregates += body.length;
}

function sign(pubkey, objectRoot, domainType, epoch) {
  const version = Buffer.alloc(32);
  unhex(versionAt(epoch)).copy(version);
  const domain = Buffer.concat([Buffer.from([domainType, 0, 0, 0]), sha256(version, unhex(genesis.genesis_validators_root)).subarray(0, 28)]);
  return hex(keys.get(pubkey).sign(sha256(objectRoot, domain)).toBytes());
}

function versionAt(epoch) {
  return forks.filter((fork) => fork.epoch <= epoch).at(-1).version;
}

function forkAt(epoch) {
  return FORKS[unhex(versionAt(epoch))[0]];
}

// The interop key of an index: sha256 of the index as 32 little-endian bytes, read little-endian, modulo the group order.
function interopSecret(index) {
  const order = 52435875175126190479447740508185965837690552500527637822603658699938581184513n;
  const seed = Buffer.alloc(32);
  seed.writeUInt32LE(index);
  const scalar = BigInt("0x" + Buffer.from(sha256(seed).reverse()).toString("hex")) % order;
  return Buffer.from(scalar.toString(16).padStart(64, "0"), "hex");
}

function get(path) {
  return call("GET", path);
}

function post(path, body, headers = {}) {
  return call("POST", path, JSON.stringify(body), {"content-type": "application/json", ...headers});
}

async function call(method, path, body, headers = {}) {
  const response = await fetch(options.url + path, {method, body, headers: {accept: "application/json", ...headers}});
  const text = await response.text();
  if (!response.ok) throw Error(`${method} ${path}: ${response.status} ${text.slice(0, 300)}`);
  return text ? JSON.parse(text) : {};
}

async function tried(what, work) {
  try {
    await work();
  } catch (error) {
    done.errors++;
    console.log(`slot ${slot}: ${what} failed: ${error.message.slice(0, 400)}`);
  }
}

function until(slot, fraction) {
  return new Promise((resolve) => setTimeout(resolve, Math.max(0, genesisMs + (slot + fraction) * slotMs - Date.now())));
}
