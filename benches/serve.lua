-- Asks nn serve for answers, as fast as it gives them:
--   wrk -t 2 -c 16 -d 10s --latency -s benches/serve.lua http://127.0.0.1:8080 -- MODEL FEATURES [SAMPLES]
-- MODEL is the name in the protocol, FEATURES the width of its input, SAMPLES how many go in a request (1).

function init(arguments)
  local model, features, samples = arguments[1] or "mnist", tonumber(arguments[2] or 784), tonumber(arguments[3] or 1)
  local numbers = {}
  for i = 1, features * samples do
    -- A fifth of the pixels has ink, with the digits that eight bits give.
    numbers[i] = i % 5 == 0 and string.format("%.8f", (i * 37 % 256) / 255) or "0"
  end
  wrk.method = "POST"
  wrk.path = "/v2/models/" .. model .. "/infer"
  wrk.headers["Content-Type"] = "application/json"
  wrk.body = string.format('{"inputs":[{"name":"input","shape":[%d,%d],"datatype":"FP32","data":[%s]}]}',
    samples, features, table.concat(numbers, ","))
end

function done(summary)
  local wrong = summary.errors.status + summary.errors.connect + summary.errors.read + summary.errors.timeout
  if wrong > 0 then io.write("WRONG: ", wrong, " requests were not answered with 200\n") end
end
