package main

import (
	"context"
	"fmt"
	"log"
	"time"

	"example.com/sentiment"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
)

func main() {
	connection, err := grpc.NewClient("localhost:8001", grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		log.Fatal(err)
	}
	defer connection.Close()
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	client := sentiment.NewSentimentClient(connection)
	answer, err := client.Predict(ctx, &sentiment.PredictRequest{Text: "A gripping, beautifully acted film."})
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(answer.Label, answer.Score, answer.Tokens) // positive 0.94146514 6
}
