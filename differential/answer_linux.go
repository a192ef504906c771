package differential

import (
	"encoding/json"

	"usvs/differential/stage"
)

// AnswerJob plays a job on a stage: the kernel's end of Record.
func AnswerJob(in []byte, clock stage.Sleeper) []byte {
	var job stage.Job
	answer := stage.Answer{}
	if err := json.Unmarshal(in, &job); err != nil {
		answer.Failure = err.Error()
	} else {
		answer = stage.Play(job, clock)
	}
	out, err := json.Marshal(answer)
	if err != nil {
		return []byte(`{"Failure":"the answer is not JSON"}`)
	}
	return out
}
