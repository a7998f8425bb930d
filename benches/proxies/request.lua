-- For wrk: what one request is, and the figures of a run as one line of JSON.
-- `wrk … -s request.lua URL -- post 4096` sends a POST with a body of so many bytes.

local function body(bytes)
  local frame = '{"query":""}'
  return '{"query":"' .. string.rep("x", bytes - #frame) .. '"}'
end

function init(arguments)
  if arguments[1] == "post" then
    wrk.method = "POST"
    wrk.headers["Content-Type"] = "application/json"
    wrk.body = body(tonumber(arguments[2]))
  end
  request_bytes = wrk.format()
end

function request()
  return request_bytes
end

function done(summary, latency, requests)
  local errors = summary.errors
  io.write(string.format(
    '\nJSON {"requests":%d,"duration_us":%d,"p50_us":%.0f,"p99_us":%.0f,"max_us":%.0f,'
      .. '"errors":%d,"statuses":%d}\n',
    summary.requests, summary.duration, latency:percentile(50), latency:percentile(99), latency.max,
    errors.connect + errors.read + errors.write + errors.timeout, errors.status))
end
