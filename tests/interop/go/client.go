// A gRPC client on grpc-go that makes the calls it reads from stdin. ../client.py has the format of its lines.
package main

import (
	"bufio"
	"context"
	"encoding/base64"
	"encoding/json"
	"io"
	"log"
	"os"
	"strings"
	"sync"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/encoding/gzip"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/stats"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protodesc"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/reflect/protoregistry"
	"google.golang.org/protobuf/types/descriptorpb"
	"google.golang.org/protobuf/types/dynamicpb"
)

type command struct {
	ID        int
	Cancel    bool
	Method    string
	Path      string
	Requests  []json.RawMessage
	Metadata  map[string]string
	TimeoutMS int `json:"timeout_ms"`
	Gzip      bool
	KeepOpen  bool `json:"keep_open"`
}

type answer struct {
	ID     int             `json:"id"`
	Answer json.RawMessage `json:"answer"`
}

type end struct {
	ID       int               `json:"id"`
	Code     int               `json:"code"`
	Message  string            `json:"message"`
	Trailers map[string]string `json:"trailers"`
	Encoding string            `json:"encoding,omitempty"`
}

type client struct {
	connection *grpc.ClientConn
	types      *protoregistry.Files
	mutex      sync.Mutex // guards output
	output     *json.Encoder
}

func main() {
	address, descriptors := os.Args[1], os.Args[2]
	security := insecure.NewCredentials()
	if len(os.Args) > 3 {
		var err error
		security, err = credentials.NewClientTLSFromFile(os.Args[3], "")
		check(err)
	}
	connection, err := grpc.NewClient(address,
		grpc.WithTransportCredentials(security),
		grpc.WithNoProxy(),
		grpc.WithStatsHandler(encodings{}))
	check(err)
	caller := client{connection: connection, types: readTypes(descriptors), output: json.NewEncoder(os.Stdout)}

	cancels := map[int]context.CancelFunc{}
	lines := json.NewDecoder(bufio.NewReader(os.Stdin))
	for {
		var next command
		if err := lines.Decode(&next); err == io.EOF {
			return
		} else {
			check(err)
		}
		if next.Cancel {
			cancels[next.ID]()
			continue
		}
		ctx, cancel := context.WithCancel(context.Background())
		cancels[next.ID] = cancel
		go caller.call(ctx, next)
	}
}

// call makes one call and prints what comes of it.
func (c *client) call(ctx context.Context, call command) {
	if call.TimeoutMS > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, time.Duration(call.TimeoutMS)*time.Millisecond)
		defer cancel()
	}
	for key, value := range call.Metadata {
		ctx = metadata.AppendToOutgoingContext(ctx, key, decoded(key, value))
	}
	encoding := "identity"
	ctx = context.WithValue(ctx, encodings{}, &encoding)
	var options []grpc.CallOption
	if call.Gzip {
		options = append(options, grpc.UseCompressor(gzip.Name))
	}

	trailers, err := c.exchange(ctx, call, options)

	result := end{ID: call.ID, Trailers: map[string]string{}, Encoding: encoding}
	result.Code, result.Message = int(status.Code(err)), status.Convert(err).Message()
	for key, values := range trailers {
		result.Trailers[key] = encoded(key, values[0])
	}
	c.print(result)
}

// exchange sends the requests of a call and prints its answers.
func (c *client) exchange(ctx context.Context, call command, options []grpc.CallOption) (metadata.MD, error) {
	method := c.method(call.Method)
	description := grpc.StreamDesc{ClientStreams: method.IsStreamingClient(), ServerStreams: method.IsStreamingServer()}
	path := call.Path
	if path == "" {
		path = "/" + call.Method
	}
	stream, err := c.connection.NewStream(ctx, &description, path, options...)
	if err != nil {
		return nil, err
	}
	go func() {
		for _, request := range call.Requests {
			message := dynamicpb.NewMessage(method.Input())
			check(protojson.Unmarshal(request, message))
			if stream.SendMsg(message) != nil {
				return // RecvMsg returns the error
			}
		}
		if !call.KeepOpen {
			stream.CloseSend()
		}
	}()
	for {
		message := dynamicpb.NewMessage(method.Output())
		err := stream.RecvMsg(message)
		if err == io.EOF {
			return stream.Trailer(), nil
		} else if err != nil {
			return stream.Trailer(), err
		}
		content, err := protojson.MarshalOptions{UseProtoNames: true}.Marshal(message)
		check(err)
		c.print(answer{call.ID, content})
		if !method.IsStreamingServer() {
			return stream.Trailer(), nil
		}
	}
}

// method finds a method by its name, package.Service/Method.
func (c *client) method(name string) protoreflect.MethodDescriptor {
	found, err := c.types.FindDescriptorByName(protoreflect.FullName(strings.Replace(name, "/", ".", 1)))
	check(err)
	return found.(protoreflect.MethodDescriptor)
}

func (c *client) print(line any) {
	c.mutex.Lock()
	defer c.mutex.Unlock()
	check(c.output.Encode(line))
}

// encodings notes how the answers of a call are compressed, where the context of the call holds a string for it.
type encodings struct{}

func (encodings) HandleRPC(ctx context.Context, event stats.RPCStats) {
	if header, ok := event.(*stats.InHeader); ok && header.Compression != "" {
		*ctx.Value(encodings{}).(*string) = header.Compression
	}
}
func (encodings) TagRPC(ctx context.Context, _ *stats.RPCTagInfo) context.Context   { return ctx }
func (encodings) TagConn(ctx context.Context, _ *stats.ConnTagInfo) context.Context { return ctx }
func (encodings) HandleConn(context.Context, stats.ConnStats)                       {}

func readTypes(path string) *protoregistry.Files {
	content, err := os.ReadFile(path)
	check(err)
	var set descriptorpb.FileDescriptorSet
	check(proto.Unmarshal(content, &set))
	files, err := protodesc.NewFiles(&set)
	check(err)
	return files
}

// decoded is metadata as grpc-go takes it: binary in a field whose name ends with -bin, which JSON holds in base64.
func decoded(key, value string) string {
	if !strings.HasSuffix(key, "-bin") {
		return value
	}
	content, err := base64.StdEncoding.DecodeString(value)
	check(err)
	return string(content)
}

func encoded(key, value string) string {
	if !strings.HasSuffix(key, "-bin") {
		return value
	}
	return base64.StdEncoding.EncodeToString([]byte(value))
}

func check(err error) {
	if err != nil {
		log.Fatal(err)
	}
}
