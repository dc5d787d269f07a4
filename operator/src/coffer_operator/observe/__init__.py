"""What is: informers of children, long polls to the agents, and the World made of both."""
