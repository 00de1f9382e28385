import { createHash } from "node:crypto";
import { MAX_INTEGER_TEXT_BYTES } from "../engine.ts";
import { REVISION_CHARACTERS } from "./stored-form.ts";

/** A script for the server. It accesses one hash slot, so that it also runs in a cluster. */
export interface ServerScript {
  readonly source: string;
  readonly sha: string;
}

/**
 * What the mutating scripts share.
 *
 * KEYS: entry [, tombstone, floor of the last clear]; the last two only where versions are kept.
 * ARGV[1], ARGV[2]: version and node id; where no versions are kept, "" and a revision.
 * ARGV[3]: what must hold: "" nothing, "a" absent, "p" present; "0" still absent and "=<sha1>" still these bytes for a
 * caller that has decided on what it read before ("changed" tells it to read again).
 * The layout of an envelope is described in `stored-form.ts`.
 */
const PRELUDE = `
local is_foreign = false
local function read(name)
  local found = redis.pcall('GET', name)
  if type(found) == 'table' and found.err then
    if not string.find(found.err, 'WRONGTYPE', 1, true) then return redis.call('GET', name) end
    is_foreign = true
  end
  return type(found) == 'string' and found or nil
end
local function is_newer(stored, offset)
  if not stored or #stored < offset + 11 then return false end
  local high, low, nodeId = struct.unpack('>I4I4I4', stored, offset)
  if high >= 2097152 then return false end
  local version = high * 4294967296 + low
  local mine = tonumber(ARGV[1])
  return version > mine or (version == mine and nodeId > tonumber(ARGV[2]))
end
local function stamp()
  local version = tonumber(ARGV[1]) or 0
  return struct.pack('>I4I4I4', math.floor(version / 4294967296), version % 4294967296, tonumber(ARGV[2]))
end
local function is_envelope(stored) return #stored >= 15 and string.byte(stored, 1) == 1 end
local versioned = ARGV[1] ~= ''
local current = read(KEYS[1])
local is_there = current or is_foreign
local function refused()
  if versioned then
    if current and is_envelope(current) and is_newer(current, 3) then return 'superseded' end
    if is_newer(read(KEYS[2]), 1) or is_newer(read(KEYS[3]), 1) then return 'superseded' end
  end
  local expected = ARGV[3]
  if expected == 'a' and is_there then return 'condition-failed' end
  if expected == 'p' and not is_there then return 'condition-failed' end
  if expected == '0' and is_there then return 'changed' end
  if string.sub(expected, 1, 1) == '=' and (not current or '=' .. redis.sha1hex(current) ~= expected) then
    return 'changed'
  end
  return nil
end
local function revision()
  local rest, text = tonumber(ARGV[2]), ''
  for _ = 1, ${REVISION_CHARACTERS} do
    local digit = rest % 4 + 1
    text = string.sub(' \\t\\n\\r', digit, digit) .. text
    rest = math.floor(rest / 4)
  end
  return text
end
local function store(value, ttl)
  if ttl == 'keep' then redis.call('SET', KEYS[1], value, 'KEEPTTL')
  elseif ttl == '' then redis.call('SET', KEYS[1], value)
  else redis.call('SET', KEYS[1], value, 'PX', ttl) end
  if versioned then redis.call('UNLINK', KEYS[2]) end
end
local no = refused()
if no then return no end
`;

/**
 * Operations that depend on the value fail for another program's hash, list or set. Puts overwrite it, deletes remove
 * it.
 */
const REFUSE_FOREIGN = "if is_foreign then return redis.error_reply('WRONGTYPE the key holds no string') end";

/** ARGV[4]: the bytes to store; ARGV[5]: TTL in ms or "". */
export const PUT = script(`${PRELUDE}
store(ARGV[4], ARGV[5])
return 'stored'`);

/** ARGV[4]: how many ms to remember the delete, or "". */
export const DELETE = script(`${PRELUDE}
if versioned and ARGV[4] ~= '' then redis.call('SET', KEYS[2], stamp(), 'PX', ARGV[4]) end
if redis.call('UNLINK', KEYS[1]) == 1 then return 'deleted' end
return 'absent'`);

/**
 * ARGV[4]: TTL in ms or ""; ARGV[5], ARGV[6]: version and node id of the entry to touch, or "". The touch itself has no
 * stamp.
 */
export const TOUCH = script(`${PRELUDE}
${REFUSE_FOREIGN}
if not current then return 'absent' end
if ARGV[5] ~= '' then
  if not is_envelope(current) then return 'absent' end
  local high, low, nodeId = struct.unpack('>I4I4I4', current, 3)
  if high * 4294967296 + low ~= tonumber(ARGV[5]) or nodeId ~= tonumber(ARGV[6]) then return 'absent' end
end
if ARGV[4] == '' then redis.call('PERSIST', KEYS[1])
else redis.call('PEXPIRE', KEYS[1], ARGV[4]) end
return 'touched'`);

/** ARGV[4]: delta; ARGV[5]: TTL in ms, or "", if the call creates the entry. Returns the sum as text after "=". */
export const INCREMENT = script(`${PRELUDE}
${REFUSE_FOREIGN}
local text = current or '0'
if is_envelope(text) then
  if string.byte(text, 15) ~= 0 then return 'not-an-integer' end
  text = string.sub(text, 16)
end
local digits = string.match(text, '^[ \\t\\n\\r]*%-?(%d+)[ \\t\\n\\r]*$')
if not digits or #text > ${MAX_INTEGER_TEXT_BYTES + REVISION_CHARACTERS} or #digits > 16 or (#digits > 1 and string.byte(digits) == 48) then return 'not-an-integer' end
local limit = 9007199254740991
local before = tonumber(text)
if math.abs(before) > limit then return 'not-an-integer' end
local sum = before + tonumber(ARGV[4])
if math.abs(sum) > limit then return 'out-of-range' end
local result = string.format('%.0f', sum)
if result == '-0' then result = '0' end
if versioned then store('\\1\\0' .. stamp() .. '\\0' .. result, current and 'keep' or ARGV[5])
else store(result .. revision(), current and 'keep' or ARGV[5]) end
return '=' .. result`);

/** Values longer than this are not read in a batch, so that other reads do not wait for them. */
export const MAX_TOGETHER_BYTES = 64 * 1024;
/** Replaces the length of such a value in the reply, which then does not contain it. */
export const TOO_LONG = 0xffff_ffff;
/** Replaces the length if the value is not a string. */
export const NO_STRING = 0xffff_fffe;

/**
 * Reads all of KEYS. The reply is one string, because the client takes much longer to read many: per entry the time to
 * live in ms as PTTL gives it (float64, little-endian; -2 = no entry), the value's length (uint32), and the value.
 */
export const READ_TOGETHER = script(`
local parts = {}
for i, name in ipairs(KEYS) do
  local value = redis.pcall('GETRANGE', name, '0', '${MAX_TOGETHER_BYTES}')
  local ttl = redis.call('PTTL', name)
  if type(value) ~= 'string' then
    if not string.find(value.err, 'WRONGTYPE', 1, true) then return value end
    value, ttl = '', -1
    parts[i] = struct.pack('<dI4', ttl, ${NO_STRING})
  end
  local length = #value
  if length > ${MAX_TOGETHER_BYTES} then value, length = '', ${TOO_LONG} end
  parts[i] = parts[i] or struct.pack('<dI4', ttl, length) .. value
end
return table.concat(parts)`);

/** Removes the entry unless it is newer; 1 = removed. ARGV[3] is "". */
export const REMOVE_UNLESS_NEWER = script(`
${PRELUDE.replace("local no = refused()\nif no then return no end\n", "")}
if not current or (is_envelope(current) and is_newer(current, 3)) then return 0 end
return redis.call('UNLINK', KEYS[1])`);

/** Records a clear, unless a newer one is recorded. KEYS[1]: the floor. */
export const RAISE_FLOOR = script(`
${PRELUDE.replace("local no = refused()\nif no then return no end\n", "")}
if not is_newer(current, 1) then redis.call('SET', KEYS[1], stamp()) end
return 1`);

function script(source: string): ServerScript {
  return { source, sha: createHash("sha1").update(source).digest("hex") };
}
