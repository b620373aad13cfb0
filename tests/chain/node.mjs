// One real Lodestar beacon node on one address: real state transition, pools, block production and REST API; a mocked
// execution engine, no p2p. It is the chain that the end-to-end tests and `./dev up` run on.
//
// Usage: node node.mjs CONFIG.json, with {host, port, validators, genesisTime, slotSeconds, pubkeys: {"60": "0x…"}, logLevel}.
// `pubkeys` puts the cluster's group keys into the genesis state in place of interop keys; the node holds no keys at all.
// It ends when its standard input closes, and so with its parent.
import {readFileSync} from "node:fs";
import {setMaxListeners} from "node:events";

globalThis.self = undefined;
process.env.LODESTAR_PRESET = "mainnet";
process.stdin.on("end", () => process.exit(0)).resume();
const options = JSON.parse(readFileSync(process.argv[2]));
const slotMs = options.slotSeconds * 1000;

const lib = (path) => import(new URL("./node_modules/@lodestar/beacon-node/lib/" + path, import.meta.url));
const {createChainForkConfig, createBeaconConfig} = await import("@lodestar/config");
const {mainnetChainConfig} = await import("@lodestar/config/configs");
const {createPubkeyCache, syncPubkeys, createBeaconStateView} = await import("@lodestar/state-transition");
const {BeaconDb, nodeUtils, defaultOptions} = await import("@lodestar/beacon-node");
const {LevelDbController} = await import("@lodestar/db");
const {getNodeLogger} = await import("@lodestar/logger");
const {ssz} = await import("@lodestar/types");
const {default: blst} = await import("@chainsafe/blst");
const {BeaconChain} = await lib("chain/index.js");
const {getApi, BeaconRestApiServer} = await lib("api/index.js");
const {initializeExecutionEngine} = await lib("execution/index.js");
const {Clock, ClockEvent} = await lib("util/clock.js");

// Every fork up to Fulu from genesis on, later ones never. The versions are this chain's own, so that nothing signed here
// can ever hold elsewhere; their first byte counts the forks, as on mainnet.
const FORKS = ["GENESIS", "ALTAIR", "BELLATRIX", "CAPELLA", "DENEB", "ELECTRA", "FULU", "GLOAS", "HEZE"];
const forks = {};
FORKS.forEach((fork, i) => {
  forks[fork + "_FORK_VERSION"] = Uint8Array.of(i, 0x48, 0x4f, 0x4c);
  if (i > 0) forks[fork + "_FORK_EPOCH"] = i <= 6 ? 0 : Infinity;
});
const forkConfig = createChainForkConfig({
  ...mainnetChainConfig,
  ...forks,
  CONFIG_NAME: "holdfast-local",
  TERMINAL_TOTAL_DIFFICULTY: 0n,
  SLOT_DURATION_MS: slotMs,
  SECONDS_PER_SLOT: options.slotSeconds,
  SHARD_COMMITTEE_PERIOD: 0,
  MIN_GENESIS_ACTIVE_VALIDATOR_COUNT: 1,
  BLOB_SCHEDULE: [],
});
const logger = getNodeLogger({level: options.logLevel ?? "info", module: String(options.port)});

const anchor = nodeUtils.initDevState(forkConfig, options.validators, {
  genesisTime: options.genesisTime,
  eth1BlockHash: Buffer.alloc(32, 0x0b),
  withEth1Credentials: false, // the mocked engine builds no withdrawals
});
putKeysIntoGenesis(anchor, options.pubkeys ?? {});
const config = createBeaconConfig(forkConfig, anchor.genesisValidatorsRoot);
const pubkeyCache = createPubkeyCache();
syncPubkeys(pubkeyCache, anchor.validators.getAllReadonlyValues());
const anchorState = createBeaconStateView({useNative: false, anchorState: anchor, config, pubkeyCache});
// beacon-node 1.44 against state-transition 1.46: one renamed method.
Object.getPrototypeOf(anchorState).getBeaconProposerOrNull ??= function (slot) {
  try {
    return this.getBeaconProposer(slot);
  } catch {
    return null;
  }
};

const {signal} = new AbortController();
setMaxListeners(0, signal);
const db = new BeaconDb(config, new LevelDbController());
const clock = new Clock({config, genesisTime: options.genesisTime, signal});
const chain = new BeaconChain(
  {...defaultOptions.chain, blsVerifyAllMainThread: true, nHistoricalStatesFileDataStore: false, disableLightClientServer: true},
  {
    privateKey: {publicKey: {}},
    config, clock, pubkeyCache, db, logger, anchorState,
    dataDir: ".",
    dbName: "memory",
    processShutdownCallback: (error) => {
      console.error("the beacon node stopped itself:", error);
      process.exit(1);
    },
    metrics: null,
    validatorMonitor: null,
    isAnchorStateFinalized: true,
    executionEngine: mockedEngine(),
    executionBuilder: undefined,
  }
);
await chain.init();

const network = quietNetwork();
const sync = {
  state: "Synced",
  getSyncStatus() {
    const headSlot = chain.forkChoice.getHead().slot;
    return {headSlot, syncDistance: Math.max(0, clock.currentSlot - headSlot), isSyncing: false, isOptimistic: false, elOffline: false};
  },
  isSynced: () => true,
  isSyncing: () => false,
  getSyncChainsDebugState: () => [],
  close() {},
};
const api = getApi({...defaultOptions.api, version: "local"}, {config, logger, db, sync, network, chain, metrics: null});
const rest = new BeaconRestApiServer(
  {...defaultOptions.api.rest, address: options.host, port: options.port, api: ["beacon", "config", "debug", "events", "node", "validator"]},
  {config, logger, api, metrics: null}
);
await rest.registerRoutes("local");
await rest.listen();
clock.on(ClockEvent?.slot ?? "clock:slot", (slot) => {
  const head = chain.forkChoice.getHead().slot;
  const [justified, finalized] = [chain.forkChoice.getJustifiedCheckpoint().epoch, chain.forkChoice.getFinalizedCheckpoint().epoch];
  logger.info("slot", {slot, head, justified, finalized, rssMiB: process.memoryUsage().rss >> 20});
});

function putKeysIntoGenesis(state, pubkeys) {
  const replaced = new Map();
  for (const [index, pubkey] of Object.entries(pubkeys)) {
    const validator = state.validators.get(+index);
    const key = Buffer.from(pubkey.slice(2), "hex");
    replaced.set(Buffer.from(validator.pubkey).toString("hex"), key);
    validator.pubkey = key;
  }
  for (const committee of [state.currentSyncCommittee, state.nextSyncCommittee]) {
    const keys = committee.pubkeys.getAllReadonlyValues().map((key) => replaced.get(Buffer.from(key).toString("hex")) ?? key);
    keys.forEach((key, i) => committee.pubkeys.set(i, key));
    committee.aggregatePubkey = blst.aggregatePublicKeys(keys.map((key) => blst.PublicKey.fromBytes(key))).toBytes();
  }
  state.commit();
  state.genesisValidatorsRoot = state.validators.hashTreeRoot();
  state.commit();
}

function mockedEngine() {
  const engine = initializeExecutionEngine(
    {mode: "mock", genesisBlockHash: "0x" + "00".repeat(32), eth1BlockHash: "0x" + "0b".repeat(32), genesisTime: options.genesisTime, config},
    {metrics: null, signal, logger}
  );
  // The mock invents random blobs, 140 kB each; the chain does not need them.
  const getPayload = engine.getPayload.bind(engine);
  engine.getPayload = async (...args) => {
    const payload = await getPayload(...args);
    if (payload.blobsBundle) payload.blobsBundle = {commitments: [], blobs: [], proofs: []};
    return payload;
  };
  return engine;
}

// There is nobody to gossip with: every call of the network answers at once.
function quietNetwork() {
  const identity = {
    peerId: "16Uiu2HAm", enr: "enr:-", discoveryAddresses: [], p2pAddresses: [],
    metadata: {seqNumber: 0n, attnets: ssz.phase0.AttestationSubnets.defaultValue(), syncnets: ssz.altair.SyncSubnets.defaultValue()},
  };
  const known = {
    closed: false,
    shouldAggregate: () => true,
    getConnectedPeers: () => [],
    getConnectedPeerCount: () => 1,
    dumpPeers: async () => [],
    getNetworkIdentity: async () => identity,
  };
  return new Proxy(known, {get: (target, name) => (name in target ? target[name] : name === "then" ? undefined : async () => 1)});
}
