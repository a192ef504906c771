package dissect

// Change is a field that two frames do not have in common. A value that one of
// them lacks is "".
type Change struct {
	Layer, Name   string
	Before, After string
}

// Diff lists what differs between two frames' fields: the changes in the order
// of the frame after, then what is gone.
func Diff(before, after []Field) []Change {
	type key struct{ layer, name string }
	old := map[key]string{}
	for _, f := range before {
		old[key{f.Layer, f.Name}] = f.Value
	}
	var list []Change
	left := map[key]bool{}
	for _, f := range after {
		k := key{f.Layer, f.Name}
		left[k] = true
		if was, ok := old[k]; !ok || was != f.Value {
			list = append(list, Change{f.Layer, f.Name, was, f.Value})
		}
	}
	for _, f := range before {
		if !left[key{f.Layer, f.Name}] {
			list = append(list, Change{f.Layer, f.Name, f.Value, ""})
		}
	}
	return list
}
