// prices.mjs - makes src/gateway/prices/prices.tsv from a provider price list in JSON lines.
//
//     node tools/prices.mjs prices.jsonl VALID_FROM COMMIT > src/gateway/prices/prices.tsv
//
// VALID_FROM is the date of the list, like 2026-08-21, COMMIT that of the repository it comes from.
//
// Each input line is an object {provider, model, input, output, cache_read, cache_write, other_usd_per_unit}:
// the four prices in USD per million tokens, those under other_usd_per_unit in USD per single unit. Each output
// row is `provider, model, valid_from, unit, pico`, separated by tabs, with whole pico-USD per token.
//
// Numbers are read from the text and scaled as decimals, never as doubles; a price that is no whole number of
// pico-USD stops the program, because rounding one silently would make every bill wrong.
//
// Of other_usd_per_unit only cache_write_1h is a price per token of a kind that Catalyst counts. The rest (a web
// or file search per call, images, audio and video tokens, routing units and so on) is left out for now: a call
// that uses such an extra costs more than Catalyst shows.
//
// To add a later list, make its rows with their own date and append them: calls before it keep the old price.
import { readFileSync } from 'node:fs';

const UNITS = ['input', 'output', 'cache_read', 'cache_write'];

// Like JSON.parse, but a number becomes {number: its text}.
function parse(text, where) {
  let at = 0;
  const fail = (what) => { throw new Error(`${where}: ${what} at column ${at + 1}`); };
  const space = () => { while (/\s/.test(text[at] ?? '')) at++; };
  const expect = (c) => { space(); if (text[at] !== c) fail(`expected ${c}`); at++; };
  const match = (pattern) => {
    pattern.lastIndex = at;
    const found = pattern.exec(text);
    if (!found) return null;
    at = pattern.lastIndex;
    return found[0];
  };
  const string = () => {
    space();
    const raw = match(/"(?:[^"\\]|\\.)*"/y) ?? fail('expected a string');
    return JSON.parse(raw);
  };
  const value = () => {
    space();
    if (text[at] === '"') return string();
    if (text[at] === '{') {
      at++;
      const object = new Map();
      space();
      if (text[at] === '}') { at++; return object; }
      for (;;) {
        const name = string();
        if (object.has(name)) fail(`${name} twice`);
        expect(':');
        object.set(name, value());
        space();
        if (text[at] === '}') { at++; return object; }
        expect(',');
      }
    }
    return { number: match(/-?(?:0|[1-9]\d*)(?:\.\d+)?(?:[eE][-+]?\d+)?/y) ?? fail('expected a value') };
  };
  const result = value();
  space();
  if (at !== text.length) fail('unexpected text');
  return result;
}

// The decimal times 10^scale as a BigInt.
function scaled(decimal, scale, where) {
  const [, digits, fraction = '', exponent = '0'] = /^(\d+)(?:\.(\d+))?(?:[eE]([-+]?\d+))?$/.exec(decimal)
    ?? (() => { throw new Error(`${where}: ${decimal} is no price`); })();
  const whole = BigInt(digits + fraction);
  const power = Number(exponent) - fraction.length + scale;
  if (Math.abs(power) > 40) throw new Error(`${where}: ${decimal} is out of range`);
  if (power >= 0) return whole * 10n ** BigInt(power);
  const divisor = 10n ** BigInt(-power);
  if (whole % divisor !== 0n) throw new Error(`${where}: ${decimal} is finer than a pico-USD per token`);
  return whole / divisor;
}

const [file, date, commit] = process.argv.slice(2);
if (!commit || !/^\d{4}-\d{2}-\d{2}$/.test(date)) {
  console.error('usage: prices.mjs PRICES.jsonl VALID_FROM COMMIT > prices.tsv');
  process.exit(2);
}
const rows = [];
const seen = new Set();
readFileSync(file, 'utf8').split('\n').forEach((line, i) => {
  if (line.trim() === '') return;
  const where = `${file}:${i + 1}`;
  const entry = parse(line, where);
  const provider = entry.get('provider');
  const model = entry.get('model');
  for (const name of [provider, model])
    if (typeof name !== 'string' || name === '' || /[\t\r\n]/.test(name) || name[0] === '#')
      throw new Error(`${where}: provider and model must be names`);
  const key = `${provider}\t${model}`;
  if (seen.has(key)) throw new Error(`${where}: ${provider} ${model} stands twice`);
  seen.add(key);
  const add = (unit, value, scale) => {
    if (value === undefined) return;
    rows.push(`${key}\t${date}\t${unit}\t${scaled(value.number, scale, where)}`);
  };
  for (const unit of UNITS) add(unit, entry.get(unit), 6);
  add('cache_write_1h', entry.get('other_usd_per_unit')?.get('cache_write_1h'), 12);
});
process.stdout.write(`# version ${date}
# What tokens cost: provider, model, valid_from, unit, pico-USD per token (= micro-USD per million tokens).
# Made by tools/prices.mjs; do not edit by hand.
# Source: the open Portkey Models pricing repository (github.com/Portkey-AI/models), commit ${commit}
# of ${date}, converted from cents per token; it has no tiered (long-context) or batch prices.
# Licence of the source: MIT.
${rows.join('\n')}
`);
