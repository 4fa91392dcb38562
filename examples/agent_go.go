// An external agent in Go alone: `go run examples/agent_go.go [PORT]`.
package main

import (
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"os"
	"strings"
)

func invoke(w http.ResponseWriter, r *http.Request) {
	var asked struct {
		RunID        string                   `json:"run_id"`
		InputMessage struct{ Content string } `json:"input_message"`
	}
	if err := json.NewDecoder(r.Body).Decode(&asked); err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	w.Header().Set("Content-Type", "text/event-stream")
	send := func(event string, data map[string]any) {
		text, _ := json.Marshal(data)
		fmt.Fprintf(w, "event: %s\ndata: %s\n\n", event, text)
		w.(http.Flusher).Flush()
	}
	answer := "Go heard: " + asked.InputMessage.Content
	for _, word := range strings.SplitAfter(answer, " ") {
		send("delta", map[string]any{"text": word, "run_id": asked.RunID})
	}
	send("done", map[string]any{"final_message": answer})
}

func main() {
	port := "8000"
	if len(os.Args) > 1 {
		port = os.Args[1]
	}
	listener, err := net.Listen("tcp", "127.0.0.1:"+port)
	if err != nil {
		panic(err)
	}
	http.HandleFunc("/invoke", invoke)
	http.HandleFunc("/health", func(w http.ResponseWriter, _ *http.Request) {
		fmt.Fprint(w, `{"status": "ok", "version": "1.0", "capabilities": ["echo"]}`)
	})
	fmt.Printf("agent on http://%s\n", listener.Addr())
	panic(http.Serve(listener, nil))
}
