package stage

import "time"

// Job is what to play.
type Job struct {
	MTU   map[string]int // of links that do not have 1500
	Steps []Step
}

// Kind is a kind of step.
type Kind string

// Kinds of steps.
const (
	Setup   Kind = "setup"   // shell commands that must succeed
	Command Kind = "command" // a command whose output is the answer
	Frame   Kind = "frame"   // a frame to the director
	Wait    Kind = "wait"    // time passes
)

// Settling is the time between the set-up and the first other step.
const Settling = time.Second

// Step is one step of a job.
type Step struct {
	Kind  Kind
	Text  string        // of a setup or command
	Link  string        // of a frame
	Data  []byte        // of a frame
	Count int           // how often the frame is sent
	For   time.Duration // of a wait
}

// Emission is a frame that the director sent.
type Emission struct {
	Link string
	Data []byte
}

// Result is the kernel's answer to a step.
type Result struct {
	Out, Err string
	Exit     int
	Refused  bool // the link did not take the frame: it is too long
	Frames   []Emission
	Waited   time.Duration // before the step, for what was about to end
	End      time.Duration // when the step had ended, since the first began
}

// Answer is the answer to a job. Failure says why it could not be played.
type Answer struct {
	Results []Result
	Failure string
}
