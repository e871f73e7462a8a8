package broker

import "context"

// Owner says by what right a record is handled: as the member of a consumer group to which the group's generation gave
// the partition. Later generations have higher numbers.
type Owner struct {
	Partition  int32
	Generation int32
}

type ownerKey struct{}

func withOwner(ctx context.Context, owner Owner) context.Context {
	return context.WithValue(ctx, ownerKey{}, owner)
}

// OwnerOf returns the owner on whose behalf a record is handled, from the context that the handler was given.
func OwnerOf(ctx context.Context) Owner {
	owner, _ := ctx.Value(ownerKey{}).(Owner)
	return owner
}
