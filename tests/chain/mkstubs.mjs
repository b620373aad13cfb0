// Writes link-time stand-ins for packages that @lodestar/beacon-node imports and that a single local node never uses
// (p2p, metrics of the host). Usage: node mkstubs.mjs BEACON_NODE_LIB OUT. The committed package.json names each of them.
import fs from "node:fs";
import path from "node:path";

const [lib, out] = process.argv.slice(2);
const STAND_IN = /^(@libp2p\/|libp2p$|@chainsafe\/(enr|threads|discv5|libp2p-noise|libp2p-quic|snappy-wasm)|@lodestar\/reqresp|datastore-(core|fs|level)$|interface-datastore$|@multiformats\/multiaddr$|multiformats|systeminformation$)/;
// Two must really answer: the chain derives its custody columns from a node id.
const ANSWERS = {
  "@chainsafe/enr.getV4Crypto": `() => ({nodeId: () => "11".repeat(32)})`,
  "@libp2p/peer-id.peerIdFromPrivateKey": `(key) => ({publicKey: key.publicKey, toString: () => "peer"})`,
};

const packages = new Map();
for (const file of sources(lib)) {
  for (const [, names, specifier] of fs.readFileSync(file, "utf8").matchAll(/(?:import|export)\s+([^;"']*?)\s+from\s+"([^"]+)"/g)) {
    if (STAND_IN.test(specifier)) exportsOf(specifier, names);
  }
}
const declared = JSON.parse(fs.readFileSync("package.json")).dependencies;
for (const [name, modules] of packages) {
  if (!declared[name]) throw Error(`package.json does not name the stand-in ${name}`);
  write(name, modules);
}

function sources(folder) {
  return fs.readdirSync(folder, {withFileTypes: true}).flatMap((entry) => {
    const file = path.join(folder, entry.name);
    return entry.isDirectory() ? sources(file) : entry.name.endsWith(".js") ? [file] : [];
  });
}

function exportsOf(specifier, names) {
  const parts = specifier.split("/");
  const scope = specifier[0] === "@" ? 2 : 1;
  const name = parts.slice(0, scope).join("/");
  const module = parts.slice(scope).join("/") || "index";
  const modules = packages.get(name) ?? packages.set(name, new Map()).get(name);
  const found = modules.get(module) ?? modules.set(module, new Set()).get(module);
  for (const item of names.match(/\{([^}]*)\}/)?.[1].split(",") ?? []) {
    const exported = item.trim().split(/\s+as\s+/)[0].trim();
    if (exported) found.add(exported);
  }
  if (/^[A-Za-z_$]/.test(names)) found.add("default");
}

function write(name, modules) {
  const folder = path.join(out, name.replace("/", "__"));
  fs.mkdirSync(folder, {recursive: true});
  const exported = {".": "./index.js"};
  if (!modules.has("index")) modules.set("index", new Set());
  for (const [module, names] of modules) {
    const file = module.replaceAll("/", "_") + ".js";
    if (module !== "index") exported["./" + module] = "./" + file;
    const lines = [...names].map((item) =>
      item === "default" ? `export default any("${name}");` : `export const ${item} = ${ANSWERS[`${name}.${item}`] ?? `any("${name}.${item}")`};`
    );
    fs.writeFileSync(path.join(folder, file), [`import {any} from "./any.js";`, ...lines, "export {};", ""].join("\n"));
  }
  fs.writeFileSync(
    path.join(folder, "any.js"),
    `export const any = (name) => new Proxy(class {}, {
  get: (target, key) => (key in target || typeof key === "symbol" ? target[key] : any(name + "." + String(key))),
  apply: () => any(name + "()"),
  construct: (target, args, self) => Reflect.construct(target, args, self),
});\n`
  );
  fs.writeFileSync(path.join(folder, "package.json"), JSON.stringify({name, version: "99.0.0", type: "module", exports: exported}));
}
